import { listDurableObjectIds, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { boundShards } from '../../../src/sharding/bound-shards.ts'
import type { Env } from '../../../workers/env.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const NEXT = 'another pass phrase'
const TYPED_AS_LOGIN = 'a third pass phrase'

/** Everything in all shards, in KV, in R2 and in the directory, as text, by store. */
async function dump(): Promise<Record<string, string>> {
  const stores: Record<string, string> = {}
  const tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_cf_%'"
  for (const [binding, database] of boundShards(bindings)) {
    const { results } = await database.prepare(tables).all<{ name: string }>()
    for (const { name } of results)
      stores[`${binding}.${name}`] = JSON.stringify((await database.prepare(`SELECT * FROM "${name}"`).all()).results)
  }
  for (const { name } of (await bindings.KV.list()).keys) stores[`KV ${name}`] = (await bindings.KV.get(name)) ?? ''
  for (const { key } of (await bindings.BUCKET.list()).objects)
    stores[`R2 ${key}`] = (await (await bindings.BUCKET.get(key))?.text()) ?? ''
  for (const namespace of [bindings.DIRECTORY, bindings.MOVER] as unknown as DurableObjectNamespace[])
    for (const id of await listDurableObjectIds(namespace))
      await runInDurableObject(namespace.get(id), async (_, { storage }) => {
        stores[`object ${id} values`] = JSON.stringify([...(await storage.list())])
        for (const { name } of storage.sql.exec<{ name: string }>(tables).toArray())
          stores[`object ${id} ${name}`] = JSON.stringify(storage.sql.exec(`SELECT * FROM "${name}"`).toArray())
      })
  return stores
}

const cookieOf = (answer: WorkerAnswer): string =>
  answer.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')

test('no store has a password, a token’s secret, a stamp or a key, whatever a user does with an account', async () => {
  const input = somebody()
  const { email, password } = input
  const secrets = [password, NEXT, TYPED_AS_LOGIN, bindings.SIGNING_KEY!, bindings.OPERATOR_TOKEN!]
  const keep = (text: string | undefined): string => {
    if (!text) throw new Error('there is no such secret to look for')
    secrets.push(text.split('.').at(-1)!)
    return text
  }
  /** Keeps the secrets of the cookies too. */
  const signedIn = (answer: WorkerAnswer): { token: string; cookie: string } => {
    const cookie = cookieOf(answer)
    const stamp = /__Host-stamp=([^;]+)/.exec(cookie)?.[1] // not of a repeated answer
    if (stamp) keep(stamp)
    return { token: keep(/__Host-session=([^;]+)/.exec(cookie)?.[1]), cookie }
  }
  const { request, mails } = workerIsolate()
  const mailed = (kind: string) => keep(mails.at(-1)?.text.match(new RegExp(`${kind}/(\\S+)`))?.[1])
  const logIn = (login: string, secret: string, key: string) =>
    request('POST', '/api/v1/sessions', { json: { login, password: secret }, key })

  const { cookie } = signedIn(await request('POST', '/api/v1/accounts', { json: input, key: 'one' }))
  mailed('verify-email')
  signedIn(await request('POST', '/api/v1/accounts', { json: input, key: 'one' }))
  signedIn(await logIn(email, password, 'two'))
  signedIn(await logIn(email, password, 'two')) // a second token for the same session
  await logIn(email, NEXT, 'three')
  await logIn(TYPED_AS_LOGIN, password, 'four')
  const headers = { origin: 'http://localhost', cookie }
  const changed = await request('PUT', '/api/v1/me/password', { json: { current: password, next: NEXT }, headers })
  expect(changed.status).toBe(204)
  const rotated = signedIn(changed)
  await request('PUT', '/api/v1/me/password', { json: { current: password, next: NEXT }, token: rotated.token })
  await request('POST', '/api/v1/password-resets', { json: { email }, key: 'five' })
  mailed('reset-password') // unused
  await request('GET', '/readyz')

  const stores = await dump()
  // The dump has what it should have.
  const text = Object.values(stores).join('\n')
  for (const known of [email, '$scrypt$']) expect(text).toContain(known)
  for (const name of ['password_attempts', 'idempotency_keys', 'mail_tokens', 'sessions'])
    expect(Object.entries(stores).filter(([key, rows]) => key.endsWith(name) && rows !== '[]')).not.toEqual([])
  expect(Object.keys(stores).join()).toMatch(/KV session:.*object \S+ meta/)
  expect(secrets).toHaveLength(15)
  const leaked = Object.entries(stores).filter(([, rows]) => secrets.some((secret) => rows.includes(secret)))
  expect(leaked).toEqual([])
})
