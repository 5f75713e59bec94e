import type { OpenAPIHono } from '@hono/zod-openapi'
import { type Context, type ExecutionContext, Hono } from 'hono'
import { createMiddleware } from 'hono/factory'
import { BanyanError } from '../core/errors.ts'
import { consoleLog } from '../core/log.ts'
import { createApi, isLocalHost } from './api.ts'
import type { Tiers, WebEnv } from './context.ts'
import { accessLog } from './middleware/access-log.ts'
import { bodySize, bodyText } from './middleware/body.ts'
import { cacheControl, declaredSharing, sharedPage } from './middleware/cache-control.ts'
import { causalToken } from './middleware/causal-token.ts'
import { handOver } from './middleware/hand-over.ts'
import { operatorOnly } from './middleware/operator-only.ts'
import { originCheck } from './middleware/origin-check.ts'
import { rateLimits } from './middleware/rate-limits.ts'
import { requestId } from './middleware/request-id.ts'
import { securityHeaders } from './middleware/security-headers.ts'
import { session } from './middleware/session.ts'
import { utf8Address, utf8Headers } from './middleware/utf8.ts'
import { errorPage } from './page.tsx'
import { problemResponse, toBanyanError } from './problems.ts'
import { keptPage, sendError } from './public-pages.ts'
import type { Site } from './site.ts'

/** Opens the tiers for one request. Throws SETTING_MISSING. */
export type OpenTiers = (request: Request, bindings: unknown, context: ExecutionContext, requestId: string) => Tiers

/** Adds a noun's routes to the application. */
export type RegisterRoutes = (app: OpenAPIHono<WebEnv>) => void

/** Where the document of the API is. */
const OPENAPI = '/api/openapi.json'

/** The stateless web tier: middleware in order, then the nouns' routes. */
export function createWeb(openTiers: OpenTiers, shared: Site, nouns: RegisterRoutes[]): OpenAPIHono<WebEnv> {
  const app = createApi()
  app.onError((error, c) => answerError(c, error))
  app.notFound((c) => answerError(c, noSuchPath()))
  app.use(requestId(), cacheControl('client'), site(shared))
  app.get('/healthz', (c) => c.text('ok\n', 200, { 'server-timing': 'total;dur=0' }))
  app.use(securityHeaders(), tiers(openTiers), accessLog(), localHostOnly(), rateLimits(), utf8Headers())
  app.use('/operator/*', operatorOnly())
  app.use(utf8Address(), originCheck())
  app.get('/readyz', readiness)
  app.all('/assets/*', (c) => c.get('tiers').staticFile(c.req.raw))
  app.use(handOver(), setUpOnly(), bodySize(), bodyText(), session(), causalToken())
  for (const register of nouns) register(app)
  app.get(OPENAPI, sharedPage('ofCode'))
  describe(app)
  return app
}

/** Answers one request of the entrypoint behind the shared cache. */
export type RenderPage = (request: Request, bindings: object, context: ExecutionContext) => Promise<Response>

/**
 * The shared pages of the web tier, and no other route. An answer has nothing of one request. Clients are not checked
 * here, because the default entrypoint has checked them.
 */
export function createPublicPages(web: OpenAPIHono<WebEnv>, openTiers: OpenTiers, shared: Site): RenderPage {
  const app = new Hono<WebEnv>()
  app.onError((error, c) => sendError(toBanyanError(error, logOf(c))))
  app.notFound(() => sendError(noSuchPath()))
  app.use(requestId(), cacheControl('shared cache'), site(shared), tiers(openTiers), accessLog('page.rendered'))
  app.use(setUpOnly(), session())
  const paths = new Set(web.routes.filter(({ handler }) => declaredSharing(handler)).map(({ path }) => path))
  for (const { method, path, handler } of web.routes)
    if (method === 'GET' && paths.has(path)) app.on(method, path, handler)
  return async (request, bindings, context) => keptPage(await app.fetch(request, bindings, context))
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

const noSuchPath = () => new BanyanError('NOT_FOUND', 'There is nothing at this path. Check the address.')

const logOf = (c: Context<WebEnv>) => c.get('tiers')?.log ?? consoleLog({ requestId: c.get('requestId') })

function answerError(c: Context<WebEnv>, thrown: unknown): Response | Promise<Response> {
  const error = toBanyanError(thrown, logOf(c))
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
  app.doc31(OPENAPI, {
    openapi: '3.1.0',
    info: {
      title: 'Banyan',
      version: '1',
      description: 'A small publishing community that grows by adding databases.',
    },
  })
}
