import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, ExecutionContext } from 'hono'
import { createMiddleware } from 'hono/factory'
import { BanyanError } from '../core/errors.ts'
import { consoleLog } from '../core/log.ts'
import { createApi, isLocalHost } from './api.ts'
import type { Tiers, WebEnv } from './context.ts'
import { accessLog } from './middleware/access-log.ts'
import { bodySize, bodyText } from './middleware/body.ts'
import { causalToken } from './middleware/causal-token.ts'
import { operatorOnly } from './middleware/operator-only.ts'
import { originCheck } from './middleware/origin-check.ts'
import { rateLimits } from './middleware/rate-limits.ts'
import { requestId } from './middleware/request-id.ts'
import { securityHeaders } from './middleware/security-headers.ts'
import { session } from './middleware/session.ts'
import { utf8Address, utf8Headers } from './middleware/utf8.ts'
import { errorPage } from './page.tsx'
import { problemResponse, toBanyanError } from './problems.ts'
import type { Site } from './site.ts'

/** Opens the tiers for one request. Throws SETTING_MISSING. */
export type OpenTiers = (request: Request, bindings: unknown, context: ExecutionContext, requestId: string) => Tiers

/** Adds a noun's routes to the application. */
export type RegisterRoutes = (app: OpenAPIHono<WebEnv>) => void

/** The stateless web tier: middleware in order, then the nouns' routes. */
export function createWeb(openTiers: OpenTiers, shared: Site, nouns: RegisterRoutes[]): OpenAPIHono<WebEnv> {
  const app = createApi()
  app.onError((error, c) => answerError(c, error))
  app.notFound((c) => answerError(c, new BanyanError('NOT_FOUND', 'There is nothing at this path. Check the address.')))
  app.use(requestId(), site(shared))
  app.get('/healthz', (c) => c.text('ok\n', 200, { 'server-timing': 'total;dur=0' }))
  app.use(securityHeaders(), tiers(openTiers), accessLog(), localHostOnly(), rateLimits(), utf8Headers())
  app.use('/operator/*', operatorOnly())
  app.use(utf8Address(), originCheck())
  app.get('/readyz', readiness)
  app.all('/assets/*', (c) => c.get('tiers').staticFile(c.req.raw))
  app.use(setUpOnly(), bodySize(), bodyText(), session(), causalToken())
  for (const register of nouns) register(app)
  describe(app)
  return app
}

const site = (shared: Site) =>
  createMiddleware<WebEnv>(async function site(c, next) {
    c.set('site', shared)
    await next()
  })

const tiers = (openTiers: OpenTiers) =>
  createMiddleware<WebEnv>(async function tiers(c, next) {
    const tiers = openTiers(c.req.raw, c.env, c.executionCtx, c.get('requestId'))
    c.set('tiers', tiers)
    await next()
    tiers.waitUntil(tiers.afterResponse())
  })

/** Refuses a public address if the signing key or a token is a published value of local development. */
const localHostOnly = () =>
  createMiddleware<WebEnv>(async function localHostOnly(c, next) {
    const { localOnly } = c.get('tiers').settings
    if (localOnly && !isLocalHost(new URL(c.req.url).hostname)) throw new BanyanError('LOCAL_SETTINGS', localOnly)
    await next()
  })

/** Makes every page report a missing setup, even pages that need no database. A warm isolate makes no call. */
const setUpOnly = () =>
  createMiddleware<WebEnv>(async function setUpOnly(c, next) {
    const { shards } = c.get('tiers')
    if (!shards.hasMap) await shards.map()
    await next()
  })

async function readiness(c: Context<WebEnv>): Promise<Response> {
  const reports = await c.get('tiers').dependencies()
  const lines = reports.map(({ name, ok, detail }) => `${ok ? 'ok  ' : 'FAIL'} ${name}${detail ? ` — ${detail}` : ''}`)
  const isReady = reports.every(({ ok }) => ok)
  return c.text(`${lines.join('\n')}\n`, isReady ? 200 : 503, isReady ? {} : { 'retry-after': '5' })
}

function answerError(c: Context<WebEnv>, thrown: unknown): Response | Promise<Response> {
  const log = c.get('tiers')?.log ?? consoleLog({ requestId: c.get('requestId') })
  const error = toBanyanError(thrown, log)
  const wantsPage =
    !c.req.path.startsWith('/api/') &&
    !c.req.path.startsWith('/operator/') &&
    c.req.header('accept')?.includes('text/html')
  return wantsPage ? errorPage(c, error) : problemResponse(c, error)
}

function describe(app: OpenAPIHono<WebEnv>): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'session', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-session',
  })
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.doc31('/api/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Banyan',
      version: '1',
      description: 'A small publishing community that grows by adding databases.',
    },
  })
}
