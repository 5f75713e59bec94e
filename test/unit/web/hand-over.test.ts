import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { consoleLog } from '../../../src/core/log.ts'
import type { Tiers, WebEnv } from '../../../src/web/context.ts'
import { cacheControl, sharedPage } from '../../../src/web/middleware/cache-control.ts'
import { handOver } from '../../../src/web/middleware/hand-over.ts'

/** An application whose entrypoint behind the cache says which request it got. */
function application() {
  const app = new Hono<WebEnv>()
  const publicPages = {
    fetch: async ({ method, url, headers }: Request) =>
      new Response(`${method} ${url} ${[...headers.keys()]}`, { headers: { 'cache-control': 'public, max-age=60' } }),
  }
  app.use(cacheControl('client'), async (c, next) => {
    c.set('tiers', { publicPages, clock: systemClock, log: consoleLog({}) } as unknown as Tiers)
    await next()
  })
  app.use(handOver())
  return app
}

const ask = async (app: Hono<WebEnv>, path: string, init: RequestInit = {}) => (await app.request(path, init)).text()

test('a route that answers first and is not shared is not handed over, although a shared one matches too', async () => {
  const app = application()
  app.get('/notes/new', (c) => c.text('the form'))
  app.get('/notes/:id', sharedPage('ofData', 'b', 'a'), (c) => c.text('the note'))
  expect(await ask(app, '/notes/new')).toBe('the form')
  expect(await ask(app, '/notes/1?a=1&c=3&b=2')).toBe('GET https://public-pages.invalid/notes/1?b=2&a=1 ')
})

test('a route whose other middleware comes first is answered here, because that middleware may refuse it', async () => {
  const app = application()
  app.get(
    '/notes/:id',
    (c) => c.text('refused', 403),
    sharedPage('ofData'),
    (c) => c.text('the note'),
  )
  expect(await ask(app, '/notes/1')).toBe('refused')
})

test('only GET and HEAD are handed over, as GET', async () => {
  const app = application()
  app.on(['GET', 'POST'], '/notes', sharedPage('ofData'), (c) => c.text('here'))
  expect(await ask(app, '/notes', { method: 'POST' })).toBe('here')
  expect(await ask(app, '/notes', { headers: { accept: 'text/html' } })).toBe('GET https://public-pages.invalid/notes ')
  const head = await app.request('/notes', { method: 'HEAD' })
  expect([head.headers.get('cache-status'), await head.text()]).toEqual(['PublicPages; fwd=bypass', ''])
})
