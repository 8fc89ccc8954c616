import adapter from './express-rate-limit.js'

export const { ForebayStore } = adapter
