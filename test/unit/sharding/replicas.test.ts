import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { type ClientWrites, type ReplicaCounts, Replicas } from '../../../src/sharding/replicas.ts'
import type { ShardEntry } from '../../../src/sharding/shard-map.ts'
import {
  connectionLost,
  ManualClock,
  mapWire,
  routedShards,
  ScriptedSource,
  silence,
} from '../../support/sharding-doubles.ts'

// Where the router sends a client's reads while replicas are in use. The database notes how each session was opened.

const SLOT = '00a7'
const ID = `${SLOT}01jd0000000000000000000000`
const SELECT = 'SELECT 1 AS one'
const UPDATE = 'UPDATE notes SET text = 1'

const PRIMARY_AT = '0009'
const nothing: ClientWrites = { slots: [], bookmarks: new Map(), isPartial: false }

type Behaviour = 'answers' | 'silent' | Error

interface Stand {
  client?: Partial<ClientWrites>
  minBookmark?: string
  /** What a session does that was opened with this start. Others answer. */
  behaves?: (start: string, call: number) => Behaviour
  /** How long (ms) a session that was opened at a bookmark takes. */
  takesMs?: number
}

function stand({ client = {}, minBookmark, behaves = () => 'answers', takesMs = 0 }: Stand = {}) {
  const clock = new ManualClock()
  const opened: string[] = []
  const counts: ReplicaCounts = { waited: 0, fellBack: 0 }
  let calls = 0
  const call = async <T>(start: string, answer: T): Promise<T> => {
    opened.push(start)
    const turn = behaves(start, calls++)
    if (turn === 'silent') {
      setImmediate(() => clock.advance(limits.shardCallMs))
      return silence()
    }
    if (turn !== 'answers') throw turn
    if (!start.startsWith('first-')) clock.time += takesMs
    return answer
  }
  const connection = (start: string) => {
    const answer = { results: [{ state: 'active', seq: 0 }], meta: { changes: 0 } }
    const statement = {
      bind: () => statement,
      all: () => call(start, answer),
      raw: () => call(start, [['one'], [1]]),
    }
    return {
      prepare: () => statement,
      batch: (statements: unknown[]) =>
        call(
          start,
          statements.map(() => answer),
        ),
      getBookmark: () => PRIMARY_AT,
      withSession: (next: string) => connection(next),
    }
  }
  const replicas = new Replicas({ ...nothing, ...client }, (event) => void counts[event]++)
  const wire = mapWire(1, clock.now(), 0)
  if (minBookmark !== undefined) (wire.shards[0] as ShardEntry).minBookmark = minBookmark
  const { shards } = routedShards({
    databases: { SHARD_000: connection('no session') as unknown as D1Database },
    clock,
    source: new ScriptedSource(() => wire),
    replicas,
  })
  const read = () => shards.of(ID).prepare(SELECT).all()
  const write = () => shards.of(ID).prepare(UPDATE).run()
  return { shards, opened, counts, replicas, read, write }
}

const bookmarks = (bookmark: string) => new Map([['shard-000', bookmark]])

describe('a plain read starts', () => {
  test.each<[string, Stand, string]>([
    ['anywhere, for a client who wrote nothing', {}, 'first-unconstrained'],
    ['where the slots had arrived', { minBookmark: '0005' }, '0005'],
    ['at the client’s bookmark', { client: { bookmarks: bookmarks('0003') } }, '0003'],
    [
      'at the client’s bookmark, if it is later',
      { client: { bookmarks: bookmarks('0007') }, minBookmark: '0005' },
      '0007',
    ],
    ['at the arrival, if it is later', { client: { bookmarks: bookmarks('0003') }, minBookmark: '0005' }, '0005'],
    [
      'anywhere, for another shard’s bookmark',
      { client: { bookmarks: new Map([['shard-001', '0003']]) } },
      'first-unconstrained',
    ],
    ['anywhere, for a client who wrote another slot', { client: { slots: ['00a8'] } }, 'first-unconstrained'],
  ])('%s', async (_, options, start) => {
    const { read, opened } = stand(options)
    await read()
    expect(opened).toEqual([start])
  })

  test('at the bookmark also as rows in arrays', async () => {
    const { shards, opened } = stand({ client: { bookmarks: bookmarks('0003') } })
    await shards.of(ID).prepare(SELECT).raw()
    expect(opened).toEqual(['0003'])
  })

  test('at its own session’s bookmark, if that is later than the client’s', async () => {
    const { shards, opened } = stand({ client: { bookmarks: bookmarks('0003') } })
    await shards.of(ID).withSession('shard-000:0006').prepare(SELECT).all()
    await shards.of(ID).withSession('shard-000:0002').prepare(SELECT).all()
    expect(opened).toEqual(['0006', '0003'])
  })

  test('nowhere without replicas: it is a plain call', async () => {
    const { shards, opened } = stand({ client: { bookmarks: bookmarks('0003') } })
    await shards.atPrimary().of(ID).prepare(SELECT).all()
    expect(opened).toEqual(['no session'])
  })
})

describe('the primary answers', () => {
  test('an exact read', async () => {
    const { shards, opened } = stand()
    await shards.of(ID, { read: 'exact' }).prepare(SELECT).all()
    expect(opened).toEqual(['first-primary'])
  })

  test.each<[string, Partial<ClientWrites>]>([
    ['the client wrote, with no bookmark of its shard', { slots: [SLOT], bookmarks: new Map([['shard-001', '0003']]) }],
    ['the client may have written, because its token has dropped slots', { slots: ['0001'], isPartial: true }],
  ])('a read of a slot that %s', async (_, client) => {
    const { read, opened } = stand({ client })
    await read()
    expect(opened).toEqual(['first-primary'])
  })

  test('a write, and then the request’s own reads of the shard', async () => {
    const { read, write, opened, replicas } = stand({ client: { bookmarks: bookmarks('0003') } })
    await write()
    await read()
    expect(opened).toEqual(['first-primary', 'first-primary'])
    expect(replicas.written).toEqual(bookmarks(PRIMARY_AT))
  })

  test('a write in a session of the caller, whose bookmark is kept, too', async () => {
    const { shards, replicas } = stand()
    await shards.of(ID).withSession('first-primary').prepare(UPDATE).run()
    expect(replicas.written).toEqual(bookmarks(PRIMARY_AT))
  })

  test('a group’s batch, whose bookmark is kept, too', async () => {
    const { shards, opened, replicas } = stand()
    await shards.group([{ key: ID }], { keyspace: 'users', operation: 'test' }, (database) => ({
      updated: database.prepare(UPDATE),
    }))
    expect(opened).toEqual(['first-primary'])
    expect(replicas.written).toEqual(bookmarks(PRIMARY_AT))
  })
})

test('a failed write has no bookmark', async () => {
  const { write, replicas } = stand({ behaves: () => connectionLost() })
  await expect(write()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  expect(replicas.written.size).toBe(0)
})

test('an exact read that finds an earlier write acknowledges it with its bookmark', async () => {
  const { shards, replicas } = stand()
  await shards.of(ID, { read: 'exact' }).prepare(SELECT).all()
  expect(replicas.written.size).toBe(0)
  replicas.acknowledgeSeen()
  expect(replicas.written).toEqual(bookmarks(PRIMARY_AT))
})

describe('a read that a replica does not answer', () => {
  const atBookmark = { client: { bookmarks: bookmarks('0003') } }

  test.each<[string, Behaviour]>([
    ['in time', 'silent'],
    ['because the connection breaks', connectionLost()],
    ['because it does not know the bookmark', new Error('D1_ERROR: Invalid bookmark')],
  ])('%s goes to the primary, and is counted', async (_, behaviour) => {
    const { read, opened, counts } = stand({
      ...atBookmark,
      behaves: (start) => (start === '0003' ? behaviour : 'answers'),
    })
    await read()
    expect(opened).toEqual(['0003', 'first-primary'])
    expect(counts).toEqual({ waited: 0, fellBack: 1 })
  })

  test.each(['no such table: notes: SQLITE_ERROR', 'no such column: text: SQLITE_ERROR'])(
    'because it is behind the last migration goes to the primary: %s',
    async (message) => {
      const { read, opened } = stand({
        behaves: (start) => (start === 'first-primary' ? 'answers' : new Error(`D1_ERROR: ${message}`)),
      })
      await read()
      expect(opened).toEqual(['first-unconstrained', 'first-primary'])
    },
  )

  test('because the statement is wrong does not go to the primary', async () => {
    const { read, opened, counts } = stand({
      ...atBookmark,
      behaves: () => new Error('D1_ERROR: near "SELEC": syntax error: SQLITE_ERROR'),
    })
    await expect(read()).rejects.toMatchObject({ code: 'DATABASE_ERROR' })
    expect(opened).toEqual(['0003'])
    expect(counts.fellBack).toBe(0)
  })

  test('is sent to a replica again if the primary fails, too', async () => {
    const { read, opened } = stand({ behaves: (_, call) => (call < 2 ? connectionLost() : 'answers') })
    await read()
    expect(opened).toEqual(['first-unconstrained', 'first-primary', 'first-unconstrained'])
  })

  test('while the primary is unavailable is 503 with a time to retry after', async () => {
    const { read, counts } = stand({ behaves: () => connectionLost() })
    await expect(read()).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE', status: 503, retryAfterSeconds: 2 })
    expect(counts.fellBack).toBe(1 + limits.readRetriesMax)
  })
})

test.each([
  ['after the time of a usual answer', limits.replicaWaitedMs, 1],
  ['sooner', limits.replicaWaitedMs - 1, 0],
])('a replica that answers %s has waited for the bookmark', async (_, takesMs, waited) => {
  const { read, counts } = stand({ client: { bookmarks: bookmarks('0003') }, takesMs })
  await read()
  expect(counts).toEqual({ waited, fellBack: 0 })
})
