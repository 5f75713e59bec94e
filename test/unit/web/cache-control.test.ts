import { type Context, Hono } from 'hono'
import { expect, test } from 'vitest'
import type { WebEnv } from '../../../src/web/context.ts'
import { readCookie, writeCookie } from '../../../src/web/cookies.ts'
import { cacheControl, sharedPage, tagPage } from '../../../src/web/middleware/cache-control.ts'
import { bearerToken } from '../../../src/web/middleware/session.ts'

const PUBLIC = 'public, max-age=60'
const PRIVATE = 'private, no-store'

/** The Cache-Control of one route's answer. */
async function answer(
  route: (c: Context<WebEnv>) => Response | Promise<Response>,
  { headers = {}, isShared = true, reader = 'client' as 'client' | 'shared cache' } = {},
) {
  const app = new Hono<WebEnv>()
  app.onError((_, c) => c.text('failed', 503))
  app.use(cacheControl(reader))
  if (isShared) app.use('/page', sharedPage('ofData'))
  app.get('/page', route)
  return (await app.request('/page', { headers })).headers
}

const text = (c: Context<WebEnv>) => c.text('text')
const looksForCookie = (c: Context<WebEnv>) => c.text(String(readCookie(c, 'session')))

test.each([
  ['a route that declares nothing', text, { isShared: false }, 'no-store'],
  ['a shared page', text, {}, PUBLIC],
  ['a shared page that fails', () => Promise.reject(new Error('failed')), {}, 'no-store'],
  ['a redirect', (c: Context<WebEnv>) => c.redirect('/login'), {}, 'no-store'],
  [
    'an error with a Cache-Control of its own',
    (c: Context<WebEnv>) => c.text('', 404, { 'cache-control': PUBLIC }),
    {},
    'no-store',
  ],
  [
    'a file with a Cache-Control of its own',
    (c: Context<WebEnv>) => c.text('', 200, { 'cache-control': 'public' }),
    { isShared: false },
    'public',
  ],
  ['a page that looks for a cookie that no one sent', looksForCookie, {}, PUBLIC],
  ['a page that looks for a cookie', looksForCookie, { headers: { cookie: '__Host-session=not.a.session' } }, PRIVATE],
  ['a page that looks for another cookie', looksForCookie, { headers: { cookie: 'a=1; __Host-causal=' } }, PRIVATE],
  [
    'a page of a client with a token',
    (c: Context<WebEnv>) => c.text(String(bearerToken(c))),
    { headers: { authorization: 'Bearer x' } },
    PRIVATE,
  ],
] as const)('%s', async (_, route, options, expected) => {
  expect((await answer(route, options)).get('cache-control')).toBe(expected)
})

test('a shared page that sets a cookie is private', async () => {
  const headers = await answer((c) => {
    writeCookie(c, 'stamp', 'x')
    return c.text('text')
  })
  expect(headers.get('cache-control')).toBe(PRIVATE)
})

test('the shared cache alone gets stale times and tags, each tag once', async () => {
  const tagged = (c: Context<WebEnv>) => {
    tagPage(c, 'user:1', 'post:1')
    tagPage(c, 'user:1')
    return c.text('text')
  }
  const forCache = await answer(tagged, { reader: 'shared cache' })
  expect(forCache.get('cache-control')).toBe(`${PUBLIC}, stale-while-revalidate=300, stale-if-error=3600`)
  expect(forCache.get('cache-tag')).toBe('user:1,post:1')
  const forClient = await answer(tagged)
  expect([forClient.get('cache-control'), forClient.get('cache-tag')]).toEqual([PUBLIC, null])
  expect(forClient.get('vary')).toBe('cookie, authorization')
})
