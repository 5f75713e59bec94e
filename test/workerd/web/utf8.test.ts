import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { everything, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { somebody, type WorkerAnswer, type WorkerRequest, workerIsolate } from '../../support/worker-isolate.ts'

type Options = Omit<WorkerRequest, 'body'> & { body?: string | Uint8Array }

const JSON_TYPE = { 'content-type': 'application/json' }
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded', origin: 'http://localhost' }
/** Bytes, one per character of the text. */
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))

const isolate = workerIsolate()
let token: string
let handle: string
let password: string

beforeEach(async () => {
  const person = { ...somebody(), password: 'ten \ufffd herons' }
  ;({ handle, password } = person)
  token = (await isolate.request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>().token
})

const send = (method: string, path: string, options: Options = {}): Promise<WorkerAnswer> =>
  isolate.request(method, path, { token, ...options })
const codeOf = ({ status, text }: WorkerAnswer) => [status, /"code":"(\w+)"/.exec(text)?.[1] ?? text.slice(0, 200)]

describe('two bodies that a lenient decoder reads as the same text', () => {
  test('never share an answer under one Idempotency-Key, and create no account', async () => {
    const known = (await rows('accounts')).length
    const fields = JSON.stringify(somebody()).slice(1)
    const named = (name: string) => `{"displayName":"${name}",${fields}`
    const signUp = (body: string | Uint8Array) =>
      isolate.request('POST', '/api/v1/accounts', { body, headers: JSON_TYPE, key: 'one' })
    for (const body of [named('caf\xe9'), named('caf\xff'), `\xef\xbb\xbf${named('caf')}`])
      expect(codeOf(await signUp(bytes(body)))).toEqual([400, 'MALFORMED_JSON'])
    expect(await rows('idempotency_keys')).toEqual([])
    expect(await rows('accounts')).toHaveLength(known)
    expect((await signUp(named('caf\ufffd'))).status).toBe(201)
    expect(codeOf(await signUp(named('caf\\ufffd')))).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
    expect(await rows('profiles', "display_name LIKE 'caf%'")).toMatchObject([{ display_name: 'caf\ufffd' }])
  })

  test('are not the same password', async () => {
    const logIn = (body: Uint8Array, headers: Record<string, string>, path: string) =>
      isolate.request('POST', path, { body, headers })
    const json = (password: string) => bytes(`{"login":"${handle}","password":"${password}"}`)
    expect((await logIn(json('ten \xef\xbf\xbd herons'), JSON_TYPE, '/api/v1/sessions')).status).toBe(201)
    expect((await logIn(json('ten \xe9 herons'), JSON_TYPE, '/api/v1/sessions')).status).toBe(400)
    expect((await logIn(json('ten \\ud800 herons'), JSON_TYPE, '/api/v1/sessions')).status).toBe(422)
    const form = (password: string) => bytes(`login=${handle}&password=${password}`)
    expect((await logIn(form('ten+%EF%BF%BD+herons'), FORM_TYPE, '/login')).status).toBe(303)
    for (const impostor of ['ten+%E9+herons', 'ten+\xe9+herons', 'ten+%ED%A0%80+herons', 'ten+%EF%BF+herons'])
      expect((await logIn(form(impostor), FORM_TYPE, '/login')).status).toBe(400)
  })

  test('nor are they accepted as a new password: half a character is refused with a pointer to the field', async () => {
    const next = { json: { current: password, next: 'ten \ud800 herons' } }
    const answer = await send('PUT', '/api/v1/me/password', next)
    expect([answer.status, answer.json().errors]).toMatchObject([422, [{ pointer: '/next' }]])
    const stranger = { json: { ...somebody(), password: 'ten \udc00 herons' } }
    const refused = await isolate.request('POST', '/api/v1/accounts', stranger)
    expect([refused.status, refused.json().errors]).toMatchObject([422, [{ pointer: '/password' }]])
  })
})

describe('order of refusals', () => {
  const notUtf8 = bytes('"\xe9"')

  test('the size, then the content type, then the bytes', async () => {
    const large = bytes(`"${'\xe9'.repeat(70_000)}"`)
    expect(codeOf(await send('PATCH', '/api/v1/me', { body: large, headers: JSON_TYPE }))).toEqual([
      413,
      'BODY_TOO_LARGE',
    ])
    expect((await send('POST', '/settings/profile', { body: large, headers: FORM_TYPE })).status).toBe(413)
    const plain = { body: notUtf8, headers: { 'content-type': 'text/plain' } }
    expect(codeOf(await send('PATCH', '/api/v1/me', plain))).toEqual([415, 'WRONG_CONTENT_TYPE'])
    expect((await send('POST', '/settings/profile', plain)).status).toBe(415)
  })

  test('the operators’ token is checked before their body and their address', async () => {
    const body = { body: notUtf8, headers: JSON_TYPE }
    const unknown = [401, 'OPERATOR_TOKEN_REQUIRED']
    expect(codeOf(await send('POST', '/operator/v1/imports', body))).toEqual(unknown)
    expect(codeOf(await send('GET', '/operator/v1/moves/%E9'))).toEqual(unknown)
    const operators = { token: 'banyan-local' }
    expect(codeOf(await send('POST', '/operator/v1/imports', { ...body, ...operators }))).toEqual([
      400,
      'MALFORMED_JSON',
    ])
    expect(codeOf(await send('GET', '/operator/v1/moves/%E9', operators))).toEqual([400, 'MALFORMED_UTF8'])
  })

  test('the bytes are checked before the session, and before the fields of another site’s form', async () => {
    expect(codeOf(await isolate.request('PATCH', '/api/v1/me', { body: notUtf8, headers: JSON_TYPE }))).toEqual([
      400,
      'MALFORMED_JSON',
    ])
    const elsewhere = { ...FORM_TYPE, origin: 'https://elsewhere.example' }
    const answer = await isolate.request('POST', '/settings/profile', { body: bytes('bio=\xe9'), headers: elsewhere })
    expect(codeOf(answer)).toEqual([403, 'WRONG_ORIGIN'])
  })
})

test('an address or a cookie with escapes that are not UTF-8 is refused, and nothing is written', async () => {
  const before = await everything()
  for (const path of ['/api/v1/users/%E9', '/verify-email/%ED%A0%80', '/@caf%E9', `/api/v1/users/${handle}?limit=%FF`])
    expect(codeOf(await send('GET', path)), path).toEqual([400, 'MALFORMED_UTF8'])
  const cookie = { cookie: '__Host-session=%E9' }
  expect(codeOf(await isolate.request('GET', '/api/v1/me', { headers: cookie }))).toEqual([400, 'MALFORMED_UTF8'])
  expect(await everything()).toEqual(before)
})

test('a User-Agent is shortened between characters', () => {
  const { sessions } = new World().isolate().tiers
  expect(sessions.mint('anybody', `${'a'.repeat(255)}🌳🌳`).userAgent).toBe(`${'a'.repeat(255)}🌳`)
})
