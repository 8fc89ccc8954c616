import type { Region, WindowCounter } from '../index.js'

/** Where an adapter counts. */
export type CounterSource =
  | {
      counter: WindowCounter
      region?: undefined
      name?: undefined
      maxKeys?: undefined
    }
  | {
      region: Region
      /** The window counter of this name: created, or attached to. */
      name: string
      /** Keys at once, as for `region.window`. */
      maxKeys?: number | undefined
      counter?: undefined
    }
