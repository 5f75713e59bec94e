import { env } from 'cloudflare:workers'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { claimKey } from '../../../src/sharding/claims.ts'
import type { Env } from '../../../workers/env.ts'
import { copyDatabase } from '../../support/database-copy.ts'
import '../../support/light-passwords.ts'
import { type LaggingDatabase, replicated } from '../../support/replicated-database.ts'
import { seededRandom } from '../../support/sharding-doubles.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

// The whole Worker with REPLICAS=on, on two shards with three lagging replicas each.

const bindings = env as unknown as Env & Record<(typeof names)[number] | `SPARE_${number}`, D1Database>
const names = ['SHARD_000', 'SHARD_001'] as const
const operator = { headers: { authorization: `Bearer ${bindings.OPERATOR_TOKEN}` } }

/** How far every replica is behind (ms). */
let lagMs = 0
let doubles: Record<(typeof names)[number], LaggingDatabase>
let random = seededRandom(1)

beforeAll(async () => {
  // The directory prepares the primaries itself, so the replicas are copied after that.
  expect((await workerIsolate().request('GET', '/readyz')).status).toBe(200)
  const made = await Promise.all(
    names.map(async (name, shard) => {
      const spares = [0, 1, 2].map((replica) => bindings[`SPARE_${shard * 3 + replica}`] as D1Database)
      await copyDatabase(bindings[name], spares)
      const options = { clock: systemClock, random: seededRandom(shard), lagMs: () => lagMs }
      return [name, replicated(bindings[name], spares, options)] as const
    }),
  )
  doubles = Object.fromEntries(made) as typeof doubles
}, 60_000)
beforeEach(() => {
  lagMs = 0
  random = seededRandom(1)
})

const isolate = () => workerIsolate({ ...doubles, REPLICAS: 'on' })

interface Member {
  handle: string
  token: string
  shard: LaggingDatabase
}

async function signUp({ request }: ReturnType<typeof isolate>): Promise<Member> {
  const answer = await request('POST', '/api/v1/accounts', { json: somebody() })
  expect(answer.status, answer.text).toBe(201)
  const { token, user } = answer.json<{ token: string; user: { id: string; handle: string } }>()
  return { token, handle: user.handle, shard: shardOf(user.id) }
}

const shardOf = (key: string): LaggingDatabase => doubles[names[Number.parseInt(slotOf(key), 16) < 0x8000 ? 0 : 1]]
const claimsShardOf = (handle: string) => shardOf(claimKey({ kind: 'handle', value: handle }))

const setBio = ({ request }: ReturnType<typeof isolate>, { token }: Member, bio: string) =>
  request('PATCH', '/api/v1/me', { token, json: { bio } })
const bioOf = async ({ request }: ReturnType<typeof isolate>, { handle }: Member) => {
  const answer = await request('GET', `/api/v1/users/${handle}`)
  return { status: answer.status, bio: answer.json<{ user?: { bio: string } }>().user?.bio }
}
const causal = ({ headers }: WorkerAnswer) => ({ 'x-causal-token': headers.get('x-causal-token') ?? '' })

const replications = () => Object.values(doubles).map(({ replication }) => replication)
const primaryReads = () => replications().reduce((sum, { primary }) => sum + primary.reads, 0)
const replicaReads = () =>
  [0, 1, 2].map((one) => replications().reduce((sum, { replicas }) => sum + replicas[one]!.reads, 0))

async function fellBack({ request }: ReturnType<typeof isolate>): Promise<number> {
  return (await request('GET', '/operator/v1/replicas', operator)).json<{ fellBack: number }>().fellBack
}

test('the primaries get only writes, exact reads and reads past their deadline; the replicas share all others', async () => {
  const one = isolate()
  const members = await Promise.all(Array.from({ length: 6 }, () => signUp(one)))

  const isolates = [one, isolate(), isolate()]
  for (const warm of isolates) await bioOf(warm, members[0]!)
  const late = async () => {
    let sum = 0
    for (const one of isolates) sum += await fellBack(one)
    return sum
  }
  const before = { primary: primaryReads(), late: await late(), replicas: replicaReads() }
  const READS = 120
  for (let read = 0; read < READS; read++) {
    const member = members[Math.floor(random.fraction() * members.length)]!
    expect((await bioOf(isolates[read % 3]!, member)).status).toBe(200)
  }
  const shares = replicaReads().map((reads, replica) => reads - before.replicas[replica]!)
  const atPrimaries = primaryReads() - before.primary
  console.log(`reads per replica: ${shares.join(', ')}; primaries: ${atPrimaries}`)
  // None, unless the machine is so busy that some reads take longer than their deadline.
  expect(atPrimaries).toBe((await late()) - before.late)
  // Each is two reads: the claim of the handle, and the profile.
  expect(shares.reduce((sum, reads) => sum + reads)).toBe(2 * READS)
  for (const reads of shares) expect(reads).toBeGreaterThan((2 * READS) / 6)

  // An exact read: whether the session is live, once in an isolate that has not met it.
  const [member] = members
  const other = isolate()
  await bioOf(other, member!)
  const exact = primaryReads()
  expect((await other.request('GET', '/api/v1/me', { token: member!.token })).status).toBe(200)
  expect(primaryReads() - exact).toBe(1)
  expect((await other.request('GET', '/api/v1/me', { token: member!.token })).status).toBe(200)
  expect(primaryReads() - exact).toBe(1)

  // A read past its deadline.
  lagMs = limits.replicaReadMs * 60
  const written = await setBio(other, member!, 'Not at the replicas yet.')
  const past = { primary: primaryReads(), fellBack: await fellBack(other) }
  const own = await other.request('GET', '/api/v1/me', { token: member!.token, headers: causal(written) })
  expect(own.json<{ user: { bio: string } }>().user.bio).toBe('Not at the replicas yet.')
  expect((await fellBack(other)) - past.fellBack).toBe(1)
  expect(primaryReads() - past.primary).toBe(1)
})

test('a replica without a new account does not prove that the account was deleted', async () => {
  const one = isolate()
  await signUp(one)
  lagMs = limits.replicaReadMs * 60
  const { token, handle } = await signUp(one)
  const answer = await one.request('GET', '/api/v1/me', { token })
  expect(answer.status, answer.text).toBe(200)
  expect(answer.json<{ user: { handle: string } }>().user.handle).toBe(handle)
})

test('without its primary a shard is read, and writes get 503; a promotion loses what its replica had not received', async () => {
  const one = isolate()
  const members = await Promise.all(Array.from({ length: 4 }, () => signUp(one)))
  const hit = members.filter(({ shard }) => shard === members[0]!.shard)
  const spared = members.filter(({ shard }) => shard !== members[0]!.shard)
  expect(hit.length * spared.length).toBeGreaterThan(0)
  for (const member of members) expect((await setBio(one, member, 'Received.')).status).toBe(200)
  const { replication } = hit[0]!.shard
  const promoted = replication.replicas[0]!
  for (const one of replications()) await one.catchUp()

  lagMs = limits.replicaReadMs * 60
  const acknowledged = await Promise.all(hit.map((member) => setBio(one, member, 'Acknowledged, and not received.')))
  expect(acknowledged.map(({ status }) => status)).toEqual(hit.map(() => 200))
  replication.losePrimary()

  // The client knows that there is a newer state, so no older one is shown.
  const own = one.request('GET', `/api/v1/users/${hit[0]!.handle}`, { headers: causal(acknowledged[0]!) })
  for (const member of members) expect((await bioOf(one, member)).status).toBe(200)
  // The loads of the cache are exact, but a value of a replica is better than none.
  const cached = workerIsolate({ ...doubles, REPLICAS: 'on', CACHE: 'on' })
  for (const member of hit) expect((await bioOf(cached, member)).status).toBe(200)
  // A replica does not prove that nobody has a handle.
  const free = Array.from({ length: 50 }, (_, n) => `nobody_${n}`).find(
    (handle) => claimsShardOf(handle) === hit[0]!.shard,
  )
  expect((await cached.request('GET', `/api/v1/users/${free}`)).status).toBe(503)
  for (const member of hit) {
    const refused = await setBio(one, member, 'While it is lost.')
    expect(refused.status).toBe(503)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  const others = await Promise.all(spared.map((member) => setBio(one, member, 'Another shard.')))
  expect(others.map(({ status }) => status)).toEqual(spared.map(() => 200))
  const unavailable = await own
  expect(unavailable.status).toBe(503)
  expect(Number(unavailable.headers.get('retry-after'))).toBeGreaterThan(0)

  const lost = await replication.promote(promoted)
  lagMs = 0
  const values = lost.map(({ statements }) => JSON.stringify(statements.map((statement) => statement.values)))
  expect(values.filter((value) => value.includes('Acknowledged, and not received.'))).toHaveLength(hit.length)
  expect(values.filter((value) => /Received\./.test(value))).toEqual([])
  for (const member of hit) expect(await bioOf(one, member)).toEqual({ status: 200, bio: 'Received.' })
  for (const member of spared) expect((await bioOf(one, member)).status).toBe(200)
  for (const member of hit) {
    const again = await setBio(one, member, 'After the promotion.')
    expect(again.status, again.text).toBe(200)
    const read = await isolate().request('GET', '/api/v1/me', { token: member.token, headers: causal(again) })
    expect(read.json<{ user: { bio: string } }>().user.bio).toBe('After the promotion.')
  }
})
