// The same package for `import`: one instance, whichever way it is loaded.

import forebay from './index.js'

export const {
  open,
  privateRegion,
  Region,
  Limiter,
  Verdict,
  Reservation,
  Limited,
  takeAll,
  headers,
  clientAddress,
  Cache,
  Breaker,
  Permit,
  BreakerOpen,
  Histogram,
  Snapshot,
  WindowCounter,
  Permits,
  Lease,
  Refused,
  ForebayError,
} = forebay
