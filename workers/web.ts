import { accountPages } from '../src/app/accounts/pages.tsx'
import { accountRoutes } from '../src/app/accounts/routes.ts'
import { importRoutes } from '../src/app/imports/routes.ts'
import { postPages } from '../src/app/posts/pages.tsx'
import { postRoutes } from '../src/app/posts/routes.ts'
import { profileRoutes } from '../src/app/profiles/routes.ts'
import { operatorRoutes } from '../src/console/routes.ts'
import { systemClock } from '../src/core/clock.ts'
import { consoleLog } from '../src/core/log.ts'
import { createWeb } from '../src/web/app.ts'
import { readClientEpoch } from '../src/web/causal-token.ts'
import { openTiers } from './context.ts'
import type { Env } from './env.ts'
import { isolateOf } from './isolate.ts'
import { openOperators } from './operators.ts'

/** The stateless web tier. */
export const web = createWeb(
  (request, bindings, context, requestId) => {
    const env = bindings as Env
    return openTiers({
      env,
      waitUntil: (promise) => context.waitUntil(promise),
      log: consoleLog({ requestId }),
      atLeastEpoch: readClientEpoch(request, isolateOf(env).settings.signingKey, systemClock.now()),
    })
  },
  [accountRoutes, accountPages, profileRoutes, postRoutes, postPages, operatorRoutes(openOperators), importRoutes],
)
