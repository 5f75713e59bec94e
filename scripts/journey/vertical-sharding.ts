import { setTimeout as sleep } from 'node:timers/promises'
import { table } from '../../src/cli/shell/table.ts'
import type { MovePage, ShardList, StartedMoves } from '../../src/console/shapes.ts'
import { limits } from '../../src/core/limits.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { Load, Person } from './load.ts'
import type { Expect } from './stage.ts'

const OPERATOR_TOKEN = 'an operator of the journey'
const READS = 40
const MOVES_MS = 60_000
const POLL_MS = 200
/** The load counts the queries of the last minute. */
const WINDOW_SECONDS = 60

export const operatorVars = { OPERATOR_TOKEN }

/**
 * Gives the last shard to the claims alone, while profiles are read by handle: a claim, then the user's row. Returns
 * lines with the queries and rows of each shard, before and after.
 */
export async function showVerticalSharding(
  cluster: Cluster,
  load: Load,
  people: Person[],
  expect: Expect,
): Promise<string[]> {
  const before = await measured(cluster, load, people)
  let isOver = false
  const reading = readUntil(load, people, () => isOver)
  await carriedOut(cluster, '/operator/v1/moves', { slots: 'c000-ffff', target: 'shard-002' })
  const moves = await carriedOut(cluster, '/operator/v1/keyspaces/claims/place', { target: 'shard-003' })
  isOver = true
  const { asked, failed } = await reading
  // Until then, an isolate that starts may read from the previous shard, which keeps its rows.
  await sleep(limits.mapDataCentreSecondsMax * 1_000)
  const after = await measured(cluster, load, people)

  const queriesOf = (shards: Measured[], isOwn: boolean) =>
    shards.filter(({ shard }) => (shard === 'shard-003') === isOwn).reduce((sum, { queries }) => sum + queries, 0)
  expect(failed === 0, 'no read fails while the claims move')
  expect(queriesOf(after, true) === READS, 'the claims’ shard gets one query per read')
  expect(queriesOf(after, false) === READS, 'the other shards get only the users’ queries')
  expect(
    after.every(({ shard, claims, users }) => (shard === 'shard-003' ? users : claims) === 0),
    'claims and users have no database in common',
  )
  const rows = before.map((was, index) => {
    const is = after[index] ?? was
    return [was.shard, ...[was.queries, is.queries, was.users, is.users, was.claims, is.claims].map(String)]
  })
  return [
    `vertical sharding: the claims move to a shard of their own in ${moves} moves; ${failed} of ${asked} reads failed meanwhile`,
    `${READS} profiles by handle, before → after:`,
    ...table(['', 'queries', '→', 'users', '→', 'claims', '→'], rows, 1).split('\n'),
  ]
}

interface Measured {
  shard: string
  queries: number
  users: number
  claims: number
}

/** The rows that each shard owns, and its queries for some reads. The restart sets the count of queries to zero. */
async function measured(cluster: Cluster, load: Load, people: Person[]): Promise<Measured[]> {
  await cluster.restart()
  await load.send('warm up', '/readyz')
  const list = () => operate<ShardList>(cluster, '/operator/v1/shards')
  const idle = queriesOf(await list())
  for (let read = 0; read < READS; read++) await readProfile(load, people, read)
  const busy = queriesOf(await list())
  const owned = (keyspace: string, name: string, key: string) =>
    `(SELECT count(*) FROM ${name} JOIN slots ON keyspace = '${keyspace}' AND slot = substr(${key}, 1, 4) AND slots.state = 'active')`
  const sql = `SELECT ${owned('users', 'accounts', 'id')} AS users, ${owned('claims', 'claims', 'key')} AS claims`
  const shards: Measured[] = []
  for (const [binding, database] of await cluster.databases()) {
    const shard = binding.toLowerCase().replace('_', '-')
    const rows = await database.prepare(sql).first<{ users: number; claims: number }>()
    // The second list has asked each shard once, too.
    const queries = (busy.get(shard) ?? 0) - (idle.get(shard) ?? 0) - 1
    shards.push({ shard, queries, users: rows?.users ?? 0, claims: rows?.claims ?? 0 })
  }
  return shards
}

const queriesOf = ({ items }: ShardList): Map<string, number> =>
  new Map(items.map(({ id, queriesPerSecond }) => [id, Math.round(queriesPerSecond * WINDOW_SECONDS)]))

async function readUntil(load: Load, people: Person[], isOver: () => boolean) {
  const result = { asked: 0, failed: 0 }
  while (!isOver()) {
    const answer = await readProfile(load, people, result.asked++)
    if (answer.status !== 200) result.failed++
  }
  return result
}

function readProfile(load: Load, people: Person[], turn: number): Promise<Response> {
  const handle = people[turn % people.length]?.handle ?? ''
  return load.send('read a profile', `/api/v1/users/${handle}`)
}

/** Starts moves, and waits until they are settling. Returns how many there were. */
async function carriedOut(cluster: Cluster, path: string, json: object): Promise<number> {
  const { moves } = await operate<StartedMoves>(cluster, path, json)
  for (const deadline = Date.now() + MOVES_MS; ; await sleep(POLL_MS)) {
    const { items } = await operate<MovePage>(cluster, '/operator/v1/moves?limit=100')
    const states = moves.map(({ id }) => items.find((item) => item.id === id)?.state)
    if (states.every((state) => state === 'settling')) return moves.length
    if (states.some((state) => state === 'failed' || state === 'aborted') || Date.now() > deadline)
      throw new Error(`The moves do not end: ${states.join(', ')}`)
  }
}

async function operate<T>(cluster: Cluster, path: string, json?: object): Promise<T> {
  const answer = await cluster.fetch(0, path, {
    method: json ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${OPERATOR_TOKEN}`, 'content-type': 'application/json' },
    ...(json ? { body: JSON.stringify(json) } : {}),
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as T
}
