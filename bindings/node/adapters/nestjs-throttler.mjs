import adapter from './nestjs-throttler.js'

export const { ForebayThrottlerStorage } = adapter
