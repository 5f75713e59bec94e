import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { manifest } from '../../../dist/asset-manifest.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { createIdSource, slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import '../../support/light-passwords.ts'
import { type Job, outboxStatement } from '../../../src/jobs/outbox.ts'
import { emptyCacheApi } from '../../support/cache-api-doubles.ts'
import { longest } from '../../support/longest.ts'
import { wakeMoversBy } from '../../support/waking.ts'
import { bindingsOf, type SilentEnv, silentEnv, withSilence } from './silent-env.ts'
import { dependencies, expected, type IsolateKind, isolates, type Kind, kinds } from './table.ts'

// Makes each dependency silent in turn, for each kind of isolate. Every request must be answered within its limit.

const bindings = env as unknown as Env
const ORIGIN = 'http://localhost'
const PASSWORD = 'seven quiet herons'
const CACHE = 'Cache API'

/** Time limits are divided by this, so their ratios stay. */
const SCALE = 4
const TIMED =
  /^(requestMs|afterResponseMs|queueBatchMs|cronMs|shard(Call|Write|Probe)Ms|readinessMs|directory(Plan|Shard)?Ms|moverWakeMs|cronWakeMs|(cache|store|bundle|rateLimit|kv|map)WaitMs|(queue|mail)SendMs|mapLoadTimeoutMs|routeBudgetMs)$/
const original = { ...limits }
const scaled = Object.fromEntries(
  Object.entries(limits).flatMap(([name, ms]) => (TIMED.test(name) ? [[name, ms / SCALE]] : [])),
)
/** Allows for computing between two waits on a busy machine. */
const COMPUTING_MS = 2_500
const APART_MS = 500

const ids = createIdSource(systemClock, systemRandom)
let isCacheSilent = false
const cacheApi = withSilence(emptyCacheApi, () => isCacheSilent)

interface Person {
  userId: string
  handle: string
  token: string
  tokenId: string
}

/** A person in each shard, with all claims there, and a move that is over. */
const people = new Map<string, Person>()
let moveId: string

const planned = async (at: SilentEnv, slots: string): Promise<string> => {
  const answer = await ask(at, 'POST', '/operator/v1/moves', { ...OPERATOR, json: { slots, target: 'shard-001' } })
  expect(answer.outcome, answer.text).toBe(202)
  return (JSON.parse(answer.text) as { moves: { id: string }[] }).moves[0]!.id
}

const aborted = async (at: SilentEnv, id: string): Promise<void> => {
  const answer = await ask(at, 'POST', `/operator/v1/moves/${id}/abort`, OPERATOR)
  expect(answer.outcome, answer.text).toBe(202)
}

const isolate = (lease: 'long' | 'short' = 'long') =>
  silentEnv(bindings, { JOBS: 'queue', RATE_LIMITS: 'on', LEASE_MS: lease === 'long' ? '30000' : '100' })

interface Asked {
  token?: string
  json?: object
  accept?: string
}

interface Outcome {
  outcome: number | string
  headers: Headers
  text: string
  ms: number
  followMs: number
}

async function ask({ env }: SilentEnv, method: string, path: string, { token, json, accept }: Asked): Promise<Outcome> {
  const context = createExecutionContext()
  const request = new Request(ORIGIN + path, {
    method,
    redirect: 'manual',
    headers: {
      ...(accept ? { accept } : {}),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(json ? { 'content-type': 'application/json' } : {}),
    },
    ...(json ? { body: JSON.stringify(json) } : {}),
  })
  const startedAt = performance.now()
  const answer = await worker.fetch(request as Parameters<typeof worker.fetch>[0], env, context)
  const text = await answer.text()
  const answeredAt = performance.now()
  await waitOnExecutionContext(context)
  const followMs = performance.now() - answeredAt
  return { outcome: answer.status, headers: answer.headers, text, ms: answeredAt - startedAt, followMs }
}

/** An invocation without an answer. */
async function invoke(run: (context: ExecutionContext) => Promise<unknown>, outcome: () => string): Promise<Outcome> {
  const context = createExecutionContext()
  const startedAt = performance.now()
  await run(context)
  const ms = performance.now() - startedAt
  await waitOnExecutionContext(context)
  return { outcome: outcome(), headers: new Headers(), text: '', ms, followMs: 0 }
}

const databaseOf = (shard: string) => (bindings as unknown as Record<string, D1Database>)[shard]!

const OPERATOR = { token: bindings.OPERATOR_TOKEN! }

const requests: Record<Kind, (isolate: SilentEnv, person: Person, shard: string) => Promise<Outcome>> = {
  health: (at) => ask(at, 'GET', '/healthz', {}),
  readiness: (at) => ask(at, 'GET', '/readyz', {}),
  'public page': (at, { handle }) => ask(at, 'GET', `/@${handle}`, { accept: 'text/html' }),
  'API read': (at, { handle }) => ask(at, 'GET', `/api/v1/users/${handle}`, {}),
  'sign-up': (at, _, shard) => ask(at, 'POST', '/api/v1/accounts', { json: newcomer(shard) }),
  'log-in': (at, { handle }) => ask(at, 'POST', '/api/v1/sessions', { json: { login: handle, password: PASSWORD } }),
  'signed-in write': (at, { token }) => ask(at, 'PATCH', '/api/v1/me', { token, json: { bio: 'Here.' } }),
  'static file': (at) => ask(at, 'GET', manifest['style.css'].path, {}),
  'list of shards': (at) => ask(at, 'GET', '/operator/v1/shards', OPERATOR),
  'list of moves': (at) => ask(at, 'GET', '/operator/v1/moves', OPERATOR),
  plan: (at) => ask(at, 'POST', '/operator/v1/moves', { ...OPERATOR, json: { slots: '0000', target: 'shard-000' } }),
  'plan by bytes': (at) =>
    ask(at, 'POST', '/operator/v1/rebalance', { ...OPERATOR, json: { by: 'bytes', dryRun: true } }),
  'steering of a move': (at) => ask(at, 'POST', `/operator/v1/moves/${moveId}/complete`, OPERATOR),
  'batch of jobs': async ({ env }, { userId, tokenId }) => {
    let outcome = 'neither acknowledged nor retried'
    const job: Job = {
      id: ids.ownedId(userId),
      ownerId: userId,
      kind: 'mail.verify-email',
      body: { tokenId, origin: ORIGIN },
      createdAt: systemClock.now(),
      attempts: 0,
    }
    await outboxStatement(databaseOf(shardOf(slotOf(userId))), job).run()
    const message = {
      id: '1',
      timestamp: new Date(),
      attempts: 1,
      body: job,
      ack: () => {
        outcome = 'acknowledged'
      },
      retry: () => {
        outcome = 'retried'
      },
    }
    const batch = { queue: 'banyan-jobs', messages: [message] } as unknown as MessageBatch
    return invoke(
      (context) => worker.queue(batch, env, context),
      () => outcome,
    )
  },
  cron: ({ env }) =>
    invoke(
      (context) =>
        worker.scheduled({ scheduledTime: Date.now(), cron: '* * * * *', noRetry: () => undefined }, env, context),
      () => 'ran',
    ),
}

const shardOf = (slot: string) => (slot < '8000' ? 'SHARD_000' : 'SHARD_001')
let names = 0

/** A user whose e-mail address and handle are claimed in this shard. */
function newcomer(shard: string) {
  const inShard = (kind: 'email' | 'handle', value: (name: string) => string): string => {
    for (;;) {
      const drawn = value(`n${names++}`)
      if (shardOf(slotOf(claimKey({ kind, value: drawn }))) === shard) return drawn
    }
  }
  return {
    email: inShard('email', (name) => `${name}@example.com`),
    handle: inShard('handle', (name) => name.padEnd(4, '_')),
    password: PASSWORD,
  }
}

async function settlePeople(at: SilentEnv): Promise<void> {
  // Ids of new users take turns over the slots, so the wanted shard comes up soon.
  while (people.size < 2) {
    const shard = people.has('SHARD_000') ? 'SHARD_001' : 'SHARD_000'
    const wish = newcomer(shard)
    const signedUp = await ask(at, 'POST', '/api/v1/accounts', { json: wish })
    expect(signedUp.outcome, signedUp.text).toBe(201)
    const { user, token } = JSON.parse(signedUp.text) as { user: { id: string }; token: string }
    const lives = shardOf(slotOf(user.id))
    if (lives !== shard) continue
    const tokenId = await databaseOf(shard)
      .prepare('SELECT id FROM mail_tokens WHERE user_id = ?')
      .bind(user.id)
      .first<string>('id')
    people.set(shard, { userId: user.id, handle: wish.handle, token, tokenId: tokenId! })
  }
}

beforeAll(async () => {
  vi.stubGlobal('caches', { default: cacheApi })
  const at = isolate()
  await settlePeople(at)
  moveId = await planned(at, '0001')
  await aborted(at, moveId)
  Object.assign(limits, scaled)
})

afterAll(() => {
  Object.assign(limits, original)
  vi.unstubAllGlobals()
})

test('every binding, and the Cache API, has a row', () => {
  // The spare databases are for replicas of other tests.
  const ours = bindingsOf(bindings).filter(([name]) => !name.startsWith('SPARE_'))
  const known = [...ours.map(([name]) => name), CACHE].sort()
  expect(Object.keys(dependencies).sort()).toEqual(known)
})

/** An isolate of that kind, whose dependency has just become silent. */
async function falling(dependency: string, kind: IsolateKind): Promise<SilentEnv> {
  const at = isolate(kind === 'past its lease' ? 'short' : 'long')
  if (kind !== 'cold') await ask(at, 'GET', '/login', {})
  if (kind === 'past its lease') await systemClock.sleep(110)
  at.silent = dependency
  return at
}

async function check(dependency: string, isolateKind: IsolateKind, kind: Kind, at: SilentEnv): Promise<void> {
  const shard = dependency === 'SHARD_001' ? 'SHARD_001' : 'SHARD_000'
  const { outcome, headers, text, ms, followMs } = await requests[kind](at, people.get(shard)!, shard)
  const name = `${kind}, ${isolateKind}, without ${dependency}`
  expect([name, outcome, text]).toEqual([name, expected(dependency, isolateKind, kind), text])
  expect(ms, name).toBeLessThan(longest[kinds[kind].limit]() + COMPUTING_MS)
  expect(followMs, `after the response: ${name}`).toBeLessThan(longest.follow() + COMPUTING_MS)
  if (outcome === 503) expect(headers.get('retry-after'), name).toMatch(/^\d+$/)
}

/**
 * All kinds of request at once, to one isolate or each to its own cold one. The kinds of isolates start one after
 * another.
 */
async function checkAll(dependency: string): Promise<void> {
  const checks = isolates.map(async (isolateKind, index) => {
    await systemClock.sleep(index * APART_MS)
    const shared = await falling(dependency, isolateKind)
    const asked = (Object.keys(kinds) as Kind[]).map(async (kind) => {
      const at = isolateKind === 'cold' ? await falling(dependency, isolateKind) : shared
      await check(dependency, isolateKind, kind, at)
    })
    await Promise.all(asked)
  })
  await Promise.all(checks)
}

// Most of the time is waiting. Three tests wait at once; more would measure each other's computing.
vi.setConfig({ testTimeout: 30_000, maxConcurrency: 3 })

describe.concurrent('without', () => {
  test.each(Object.keys(dependencies).filter((name) => name !== CACHE))('%s', checkAll)
})

test(`without ${CACHE}`, async () => {
  isCacheSilent = true
  await checkAll(CACHE)
  isCacheSilent = false
})

test('a mover that never answers delays no other work: its move is recorded, and the cron ends in time', async () => {
  const at = await falling('MOVER', 'warm')
  // The directory's own wake-up is lost, so the cron has a mover to wake.
  await wakeMoversBy(async () => undefined)
  const startedAt = performance.now()
  const id = await planned(at, '0002')
  expect(performance.now() - startedAt).toBeLessThan(limits.moverWakeMs + COMPUTING_MS)
  const cron = await requests.cron(at, people.get('SHARD_000')!, 'SHARD_000')
  expect(cron.ms).toBeGreaterThanOrEqual(limits.moverWakeMs)
  expect(cron.ms).toBeLessThan(longest.cron() + COMPUTING_MS)
  await wakeMoversBy(null)
  await aborted(at, id)
})
