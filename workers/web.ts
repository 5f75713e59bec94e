import { operatorRoutes } from '../src/console/routes.ts'
import { systemClock } from '../src/core/clock.ts'
import { consoleLog } from '../src/core/log.ts'
import { createPublicPages, createWeb, type OpenTiers, type RegisterRoutes } from '../src/web/app.ts'
import { readCausalToken } from '../src/web/causal-token.ts'
import { mailPreviewPages } from '../src/web/mail-preview-pages.tsx'
import type { Site } from '../src/web/site.ts'
import { openTiers } from './context.ts'
import type { Env } from './env.ts'
import { isolateOf } from './isolate.ts'
import { nouns } from './nouns.ts'
import { openOperators } from './operators.ts'

const routes = nouns
  .flatMap((noun) => noun.routes)
  .map(
    (add): RegisterRoutes =>
      (app) =>
        add(app, nouns),
  )

const homes = nouns.flatMap((noun) => noun.home ?? [])

const site: Site = {
  navigation: nouns.flatMap((noun) => noun.navigation ?? []),
  home: homes.sort((one, other) => one.order - other.order)[0]?.path ?? '/',
}

const open: OpenTiers = (request, bindings, context, requestId) => {
  const env = bindings as Env
  return openTiers({
    env,
    waitUntil: (promise) => context.waitUntil(promise),
    log: consoleLog({ requestId }),
    client: readCausalToken(request, isolateOf(env).settings.signingKey, systemClock.now()),
    request,
    exports: context.exports,
  })
}

/** The stateless web tier. */
export const web = createWeb(open, site, [...routes, operatorRoutes(openOperators), mailPreviewPages])

/** Its shared pages, for the entrypoint behind the shared cache. */
export const renderPage = createPublicPages(web, open, site)
