import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const keptMails = async () => (await bindings.KV.list({ prefix: 'mail-preview:' })).keys

test('without the setting, no mail is kept and the pages do not exist', async () => {
  const { request, mails } = workerIsolate()
  await request('POST', '/api/v1/accounts', { json: somebody() })
  expect([mails.length, await keptMails()]).toEqual([1, []])
  for (const path of ['/dev/mails', '/dev/mails/0000000000000-x'])
    expect((await request('GET', path)).status, path).toBe(404)
})

test('a local server shows the mails of all its isolates, newest first, with the newest link to click', async () => {
  const { request } = workerIsolate({ MAIL_PREVIEWS: 'on' })
  const people = [somebody(), somebody()]
  for (const json of people) await request('POST', '/api/v1/accounts', { json })
  const other = workerIsolate({ MAIL_PREVIEWS: 'on' })
  await other.request('POST', '/api/v1/password-resets', { json: { email: people[0]!.email } })
  expect(await keptMails()).toHaveLength(3)
  for (const { expiration } of await keptMails()) expect(expiration! - Date.now() / 1_000).toBeCloseTo(86_400, -2)

  const page = await request('GET', '/dev/mails')
  expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store'])
  const subjects = [...page.text.matchAll(/<bdi>([^<]+)<\/bdi>/g)].map(([, text]) => text)
  const verification = 'Confirm your e-mail address'
  expect(subjects).toEqual([
    'Set a new password',
    people[0]!.email,
    verification,
    people[1]!.email,
    verification,
    people[0]!.email,
  ])
  const link = /href="([^"]+)" id="newest-link"/.exec(page.text)![1]!
  expect(link).toMatch(/^http:\/\/localhost\/reset-password\/[^"]+$/)
  expect((await request('GET', link.slice('http://localhost'.length))).status).toBe(200)

  const frames = [...page.text.matchAll(/<iframe[^>]*src="([^"]+)"[^>]*>/g)]
  expect(frames).toHaveLength(3)
  for (const [frame] of frames) expect(frame).toContain('sandbox="allow-top-navigation-by-user-activation"')
  expect(page.headers.get('content-security-policy')).toMatch(
    /default-src 'none'.*frame-ancestors 'none'; frame-src 'self'$/,
  )
  const mail = await request('GET', frames[0]![1]!)
  expect(mail.text).toContain(`href="${link}"`)
  const policy = mail.headers.get('content-security-policy')!
  expect(policy).toMatch(/^default-src 'none'; style-src 'unsafe-inline'; .*frame-ancestors 'self'; sandbox /)
  expect(policy).not.toMatch(/allow-scripts|allow-same-origin|script-src/)
  expect((await request('GET', '/dev/mails/0000000000000-x')).status).toBe(404)
})

test('at most 50 mails are shown', async () => {
  const mail = { to: 'a@example.com', subject: 'Old', text: 'x', html: '<head>', messageId: 'x', at: 1 }
  for (let n = 0; n < 60; n++)
    await bindings.KV.put(`mail-preview:${String(9_999_999_999_000 + n)}-x`, JSON.stringify(mail))
  const page = await workerIsolate({ MAIL_PREVIEWS: 'on' }).request('GET', '/dev/mails')
  expect([...page.text.matchAll(/<iframe/g)]).toHaveLength(50)
})

test('a mail that cannot be kept is sent anyway', async () => {
  const KV = { get: async () => null, put: () => Promise.reject(new Error('KV PUT failed')) } as unknown as KVNamespace
  const { request, mails } = workerIsolate({ MAIL_PREVIEWS: 'on', KV })
  expect((await request('POST', '/api/v1/accounts', { json: somebody() })).status).toBe(201)
  expect(mails).toHaveLength(1)
})

test('no deployment can switch it on: its public address and its public host are refused, with how to fix it', async () => {
  const asked = async (settings: Partial<Env>, origin: string) => {
    const answer = await workerIsolate({ MAIL_PREVIEWS: 'on', ...settings }).request('GET', '/dev/mails', { origin })
    return [answer.status, answer.json<{ code: string; detail: string }>().code]
  }
  const own = { OPERATOR_TOKEN: 'drawn at random', RATE_LIMITS: 'on' }
  expect(await asked(own, 'https://banyan.example')).toEqual([503, 'LOCAL_SETTINGS'])
  // Also for a request that seems to come from localhost, and for queues, which have no address.
  const deployed = { ...own, PUBLIC_ORIGIN: 'https://banyan.example' }
  expect(await asked(deployed, 'http://localhost')).toEqual([503, 'SETTING_MISSING'])
  expect(await asked({ MAIL_PREVIEWS: 'yes' }, 'http://localhost')).toEqual([503, 'SETTING_MISSING'])
  const local = workerIsolate({ MAIL_PREVIEWS: 'on', PUBLIC_ORIGIN: 'http://127.0.0.1:8787' })
  expect((await local.request('GET', '/dev/mails')).status).toBe(200)
})
