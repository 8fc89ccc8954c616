import adapter from './fastify-rate-limit.js'

export const { forebayStore } = adapter
