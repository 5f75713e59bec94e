import { env } from 'cloudflare:workers'
import { afterEach, expect, test, vi } from 'vitest'
import '../../support/light-passwords.ts'
import type { Env } from '../../../workers/env.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const levels = ['log', 'info', 'warn', 'error', 'debug'] as const

afterEach(() => {
  vi.restoreAllMocks()
})

/** Collects the console's output from now on. */
function listen(): string[] {
  const lines: string[] = []
  for (const level of levels)
    vi.spyOn(console, level).mockImplementation((...parts) => void lines.push(parts.map(String).join(' ')))
  return lines
}

test('no log line of a user’s requests, including failures, has an address, a password or a token', async () => {
  const lines = listen()
  const input = somebody()
  const { email, handle, password } = input
  const secrets = [email, encodeURIComponent(email), password, 'another pass phrase', 'a third pass phrase']
  const keep = (text: string | undefined) => {
    if (text === undefined) throw new Error('there is no such secret to look for')
    secrets.push(text, text.split('.').at(-1)!)
    return text
  }
  const { request, mails, cron } = workerIsolate()
  const mailed = (kind: string) => keep(mails.at(-1)?.text.match(new RegExp(`${kind}/(\\S+)`))?.[1])

  const made = await request('POST', '/api/v1/accounts', { json: input, key: 'one' })
  const token = keep(made.json<{ token: string }>().token)
  keep(/__Host-stamp=([^;]+)/.exec(made.headers.get('set-cookie')!)?.[1])
  const verification = mailed('verify-email')
  await request('POST', '/api/v1/accounts', { json: input, key: 'one' })
  await request('POST', '/api/v1/accounts', { json: { ...somebody(), email } })
  await request('POST', '/api/v1/accounts', { json: { ...somebody(), handle } })
  await request('POST', '/api/v1/accounts', { json: { ...input, email: `${email} ` }, key: 'one' })
  await request('POST', '/api/v1/sessions', { json: { login: email, password: 'a third pass phrase' } })
  const again = await request('POST', '/api/v1/sessions', { json: { login: email, password } })
  keep(again.json<{ token: string }>().token)
  await request('POST', '/api/v1/sessions', { json: { login: 'a third pass phrase', password } }) // in the wrong field
  const headers = { origin: 'http://localhost', cookie: made.headers.get('set-cookie')!.split(';')[0]! }
  const json = { current: password, next: 'another pass phrase' }
  const rotated = await request('PUT', '/api/v1/me/password', { json, headers })
  keep(/__Host-session=([^;]+)/.exec(rotated.headers.get('set-cookie')!)?.[1])
  for (let guesses = 0; guesses < 7; guesses++)
    await request('POST', '/api/v1/sessions', { json: { login: handle, password: 'a third pass phrase' } })
  await request('GET', '/api/v1/me', { token })
  await request('GET', '/api/v1/me', { token: `${token.slice(0, -4)}AAAA` })
  await request('POST', `/api/v1/email-verifications/${verification}`)
  await request('POST', `/api/v1/email-verifications/${verification}`)
  await request('GET', `/verify-email/${verification}`)
  await request('POST', '/api/v1/password-resets', { json: { email } })
  const reset = mailed('reset-password')
  await request('POST', `/api/v1/password-resets/${reset}`, { json: { password: 'another pass phrase' } })
  await request('POST', `/api/v1/password-resets/${reset}`, { json: { password: 'another pass phrase' } })
  await cron()

  // Mail and KV that fail, with their data in the error's text.
  const MAIL = {
    send: async ({ to, text }: { to: string; text: string }) => {
      throw new Error(`550 no such box: <${to}>, it's "${to}"\n${to}\\`, { cause: text })
    },
  } as unknown as SendEmail
  const KV = {
    get: async (key: string) => Promise.reject(new Error(`KV GET failed: 500 ${key}`)),
    put: async (key: string, value: string) => Promise.reject(new Error(`KV PUT failed: 413 ${key} ${value}`)),
    delete: async () => Promise.reject(new Error(`KV DELETE failed of ${token}`)),
  } as unknown as KVNamespace
  const failing = workerIsolate({ MAIL, KV })
  await failing.request('POST', '/api/v1/password-resets', { json: { email } })
  await failing.request('GET', '/api/v1/me', { token })

  const text = lines.join('\n')
  expect(lines.length).toBeGreaterThan(20)
  for (const event of ['"request"', '"shard.error"', '"job.failed"', '"kv.failed"']) expect(text).toContain(event)
  const leaked = lines.filter((line) => secrets.some((secret) => line.toLowerCase().includes(secret.toLowerCase())))
  expect(leaked).toEqual([])
  expect(text).not.toContain(bindings.SIGNING_KEY!)
})
