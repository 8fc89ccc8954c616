// The limits of a service of agents: five classes of endpoints, from logins to
// reading, behind a general one, as a decorator that a controller's methods wear.
//
//     node limits-agents.mjs
import { privateRegion, Limited } from 'forebay' // open('agents') shares them

const region = privateRegion()

const everything = region.limiter('everything', '120/min')
const classes = {
  auth: region.limiter('auth', { rate: '5/min', algorithm: 'sliding', onFull: 'strict' }),
  passwordReset: region.limiter('password-reset', { rate: '3/5min', algorithm: 'sliding' }),
  sensitive: region.limiter('sensitive', '20/min'),
  standard: region.limiter('standard', '60/min'),
  relaxed: region.limiter('relaxed', '120/min'),
}

/** The method behind its class of limits, for each caller. */
function limited(name, method) {
  const limiter = classes[name]
  return function guarded(caller, ...rest) {
    everything.enforce(caller)
    limiter.enforce(caller) // throws Limited, which says when to come back
    return method.call(this, caller, ...rest)
  }
}

class Agents {
  login = limited('auth', (caller) => `${caller} is in`)
  sendMagicLink = limited('passwordReset', (caller) => `a link for ${caller}`)
  create = limited('sensitive', (caller, name) => `${caller} made ${name}`)
  update = limited('standard', (caller, name) => `${caller} changed ${name}`)
  list = limited('relaxed', () => ['one', 'two'])
}

const agents = new Agents()
for (const [method, times] of [['login', 6], ['sendMagicLink', 4], ['create', 21], ['update', 61], ['list', 25]]) {
  let passed = 0
  try {
    for (; passed < times; passed += 1) agents[method]('ada', 'an agent')
    console.log(`${method}: ${passed} of ${times}`)
  } catch (error) {
    if (!(error instanceof Limited)) throw error
    console.log(`${method}: ${passed} of ${times}, then ${error.message}`)
  }
}
