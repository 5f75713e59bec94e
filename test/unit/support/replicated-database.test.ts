import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, test } from 'vitest'
import { answerOf } from '../../../src/sharding/answers.ts'
import { SimulatedShard } from '../../simulation/database.ts'
import { type LaggingDatabase, type Member, replicated, wanderingLag } from '../../support/replicated-database.ts'
import { seededRandom } from '../../support/sharding-doubles.ts'
import { VirtualTime } from '../../support/virtual-time.ts'

const SCHEMA = `
CREATE TABLE rows (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, data BLOB);
CREATE TABLE counts (name TEXT PRIMARY KEY, rows INTEGER);
CREATE TRIGGER counted AFTER INSERT ON rows BEGIN
  INSERT INTO counts VALUES ('rows', 1) ON CONFLICT DO UPDATE SET rows = rows + 1; END;`
const INSERT = 'INSERT INTO rows (text) VALUES (?)'
const TEXTS = 'SELECT text FROM rows ORDER BY id'

let time: VirtualTime
/** By replica, as the test sets it. */
let lags: number[]
let chosen: number
let sqlites: DatabaseSync[]
let database: LaggingDatabase

const pick = (members: readonly Member[]) => members.find(({ name }) => name === `replica ${chosen}`) ?? members[0]!

function setUp(replicas: number): void {
  time = new VirtualTime()
  lags = [0, 1_000, 5_000, 60_000]
  chosen = 1
  sqlites = Array.from({ length: replicas + 1 }, () => {
    const sqlite = new DatabaseSync(':memory:')
    sqlite.exec(SCHEMA)
    return sqlite
  })
  const [primary, ...others] = sqlites.map((sqlite) =>
    new SimulatedShard(sqlite).connection(async (_call, execute) => execute()),
  )
  const options = { clock: time, random: seededRandom(1), lagMs: (replica: number) => lags[replica]!, choose: pick }
  database = replicated(primary!, others, options)
}

beforeEach(() => setUp(3))

const write = (text: string, on: D1Database | D1DatabaseSession = database) => on.prepare(INSERT).bind(text).run()

const texts = async (on: D1Database | D1DatabaseSession): Promise<string[]> =>
  (await time.until(on.prepare(TEXTS).all<{ text: string }>())).results.map(({ text }) => text)

const read = (start: string) => texts(database.withSession(start))

/** The bookmark of a write. */
async function written(text: string): Promise<string> {
  const session = database.withSession('first-primary')
  await write(text, session)
  return session.getBookmark()!
}

const dump = (sqlite: DatabaseSync) =>
  ['rows', 'counts', 'sqlite_sequence'].map((table) => sqlite.prepare(`SELECT * FROM ${table}`).all())

const rejection = (work: Promise<unknown>) =>
  work.then(
    () => 'no rejection',
    (error: Error) => error,
  )

test('a replica shows a write only after its own lag, and never falls back', async () => {
  await write('a')
  expect(await texts(database), 'without a session').toEqual(['a'])
  expect(await read('first-unconstrained')).toEqual([])
  await time.until(time.sleep(999))
  expect(await read('first-unconstrained')).toEqual([])
  await time.until(time.sleep(1))
  expect(await read('first-unconstrained')).toEqual(['a'])
  chosen = 2
  expect(await read('first-unconstrained'), 'another replica').toEqual([])
  await write('b')
  chosen = 1
  lags[1] = 60_000
  expect(await read('first-unconstrained'), 'a lag that grew').toEqual(['a'])
})

test('a replica waits for a bookmark as long as it lags, and not for an earlier one', async () => {
  const first = await written('a')
  await time.until(time.sleep(1_000))
  const second = await written('b')
  const startedAt = time.now()
  expect(await read(first)).toEqual(['a'])
  expect(time.now() - startedAt).toBe(0)
  expect(await read(second)).toEqual(['a', 'b'])
  expect(time.now() - startedAt).toBe(1_000)
  expect(database.replication.replicas[0]).toMatchObject({ reads: 2, waits: 1, writes: 0 })
})

test('bookmarks sort in the order of the writes, and another database’s is refused', async () => {
  const bookmarks = [await written('a'), await written('b'), await written('c')]
  expect(bookmarks.toSorted()).toEqual(bookmarks)
  expect(new Set(bookmarks).size).toBe(3)
  expect(bookmarks[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}$/)
  const foreign = bookmarks[2]!.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))
  expect(await rejection(read(foreign))).toMatchObject({ message: expect.stringMatching(/^D1_ERROR: .*bookmark/) })
  expect(await rejection(write('d', database.withSession(foreign)))).toBeInstanceOf(Error)
  expect(await rejection(read('nonsense'))).toBeInstanceOf(Error)
  expect(await texts(database)).toEqual(['a', 'b', 'c'])
})

test('a session has no bookmark before its first answer, and then reads its own writes and no older state', async () => {
  const session = database.withSession('first-primary')
  expect(session.getBookmark()).toBeNull()
  expect(database.withSession().getBookmark()).toBeNull()
  const bookmark = await written('a')
  expect(database.withSession(bookmark).getBookmark()).toBe(bookmark)
  expect(await texts(session), 'the first call goes to the primary').toEqual(['a'])
  expect(session.getBookmark()).toBe(bookmark)

  const own = database.withSession('first-unconstrained')
  await write('b', own)
  expect(await texts(own)).toEqual(['a', 'b'])
  const newest = own.getBookmark()
  chosen = 2
  expect(await texts(own), 'at a replica that lags more').toEqual(['a', 'b'])
  expect(own.getBookmark()).toBe(newest)
})

test('each answer names the member that served it', async () => {
  const of = async (start: string, sql: string) => (await database.withSession(start).prepare(sql).all()).meta
  const plain = (await database.prepare(TEXTS).all()).meta
  expect(plain).toMatchObject({ served_by: 'primary', served_by_primary: true, served_by_region: 'WEUR' })
  expect(await of('first-unconstrained', TEXTS)).toMatchObject({
    served_by: 'replica 1',
    served_by_primary: false,
    served_by_region: 'ENAM',
  })
  expect(await of('first-primary', TEXTS)).toMatchObject({ served_by_primary: true })
  expect(await of('first-unconstrained', "INSERT INTO rows (text) VALUES ('a')")).toMatchObject({
    served_by_primary: true,
    changes: 2,
  })
  const session = database.withSession('first-unconstrained')
  const batch = await session.batch([session.prepare(TEXTS), session.prepare(INSERT).bind('b')])
  expect(
    batch.map(({ meta }) => meta.served_by_primary),
    'one write sends the batch to the primary',
  ).toEqual([true, true])
  chosen = 0
  expect(await of('first-unconstrained', TEXTS), 'the primary is the nearest').toMatchObject({
    served_by_primary: true,
  })
  expect(database.replication.primary).toMatchObject({ reads: 3, writes: 2, waits: 0 })
})

test('a batch is replayed as a whole, a refused one not at all, and a write that changes nothing costs nothing', async () => {
  lags[1] = 0
  const insert = database.prepare(INSERT)
  await database.batch([insert.bind('a'), database.prepare(TEXTS), insert.bind('b')])
  const refused = database.batch([insert.bind('c'), database.prepare("INSERT INTO counts VALUES ('rows', 1)")])
  expect(await rejection(refused)).toMatchObject({ message: expect.stringContaining('UNIQUE') })
  await database.prepare("DELETE FROM rows WHERE text = 'z'").run()
  expect(database.replication.log).toHaveLength(1)
  expect(await read('first-unconstrained')).toEqual(['a', 'b'])
})

test('replicas that have caught up equal the primary, whatever was written', async () => {
  lags = [0, 0, 0, 0]
  const bytes = Uint8Array.from([0, 255, 39])
  await database.prepare('INSERT INTO rows (text, data) VALUES (?, ?), (?, NULL)').bind('ä\u0000b', bytes, null).run()
  bytes.fill(1)
  await database.prepare("UPDATE rows SET text = text || 'x' WHERE data IS NULL").run()
  await database.prepare("INSERT INTO rows (text) VALUES ('gone') RETURNING id").raw()
  await database.prepare("DELETE FROM rows WHERE text = 'gone'").run()
  await write('last')
  for (chosen = 1; chosen <= 3; chosen++) await read('first-unconstrained')
  for (const sqlite of sqlites.slice(1)) expect(dump(sqlite)).toEqual(dump(sqlites[0]!))
})

test('a write that could not be replayed is refused', async () => {
  for (const sql of [
    'INSERT INTO rows (id) VALUES (random())',
    'INSERT INTO rows (text) VALUES (CURRENT_TIMESTAMP)',
    "UPDATE rows SET text = datetime('now')",
  ])
    expect(await rejection(database.prepare(sql).run())).toMatchObject({
      message: expect.stringContaining('replays this statement'),
    })
  await database.prepare('SELECT random()').run()
})

test('raw rows and single columns are those of D1', async () => {
  chosen = 0
  await database.batch([database.prepare(INSERT).bind('a')])
  const session = database.withSession('first-primary')
  expect(await session.prepare(TEXTS).raw({ columnNames: true })).toEqual([['text'], ['a']])
  expect(await session.prepare(TEXTS).raw()).toEqual([['a']])
  expect(await session.prepare(TEXTS).first('text')).toBe('a')
})

describe('the primary is lost', () => {
  test('replicas continue with what they had received, writes and exact reads fail, later bookmarks wait', async () => {
    await write('a')
    await time.until(time.sleep(1_000))
    const late = await written('b')
    database.replication.losePrimary()
    expect(answerOf(await rejection(write('c')))).toEqual({ kind: 'transient' })
    expect(await rejection(read('first-primary'))).toBeInstanceOf(Error)
    expect(await rejection(texts(database))).toBeInstanceOf(Error)
    expect(dump(sqlites[0]!)[0], 'nothing is executed').toHaveLength(2)
    await time.until(time.sleep(60_000))
    expect(await read('first-unconstrained'), 'what was on its way is lost').toEqual(['a'])
    const waiting = texts(database.withSession(late)).then(() => 'answered')
    expect(await time.until(Promise.race([waiting, time.sleep(600_000)]))).toBeUndefined()
    chosen = 0
    expect(await read('first-unconstrained'), 'nobody chooses a lost primary').toEqual(['a'])
  })

  test('a promoted replica takes writes, and the call tells exactly what was lost', async () => {
    lags = [0, 1_000, 0, 60_000]
    const kept = await written('a')
    await time.until(time.sleep(1_000))
    const lost = await written('b')
    await write('c')
    // The second replica has replayed what the promoted one never received.
    chosen = 2
    expect(await read('first-unconstrained')).toEqual(['a', 'b', 'c'])
    const { replicas } = database.replication
    database.replication.losePrimary()
    const entries = await time.until(database.replication.promote(replicas[0]!))
    expect(entries.map(({ statements }) => statements[0]!.values)).toEqual([['b'], ['c']])
    expect(database.replication.replicas.map(({ name }) => name)).toEqual(['replica 2', 'replica 3'])

    const after = await written('d')
    expect([kept, lost, after].toSorted()).toEqual([kept, lost, after])
    expect(await texts(database)).toEqual(['a', 'd'])
    chosen = 3
    expect(await read(lost), 'a bookmark from before, at a replica that lagged').toEqual(['a'])
    for (chosen = 2; chosen <= 3; chosen++) {
      expect(await read(after)).toEqual(['a', 'd'])
      expect(dump(sqlites[chosen]!)).toEqual(dump(sqlites[1]!))
    }
  })

  test('with a durable log, replicas still receive everything, and a promotion loses nothing', async () => {
    const late = await written('a')
    const { replication } = database
    replication.losePrimary({ keepsLog: true })
    expect(replication.receivedBy(replication.replicas[0]!)).toBe(0)
    expect(await read(late)).toEqual(['a'])
    expect(replication.receivedBy(replication.replicas[0]!)).toBe(1)
    chosen = 3
    expect(await time.until(replication.promote(replication.replicas[2]!))).toEqual([])
    expect(await texts(database)).toEqual(['a'])
  })

  test('a read that waits for a lost bookmark is answered after the promotion', async () => {
    const lost = await written('a')
    const { replication } = database
    replication.losePrimary()
    const waiting = database.withSession(lost).prepare(TEXTS).all()
    await time.until(time.sleep(500))
    await time.until(replication.promote(replication.replicas[1]!))
    expect((await time.until(waiting)).results).toEqual([])
  })

  test('a read that waits at a replica fails if that replica was promoted and lost in the meantime', async () => {
    chosen = 3
    const late = await written('a')
    const waiting = rejection(database.withSession(late).prepare(TEXTS).all())
    const { replication } = database
    for (const next of [2, 0]) {
      replication.losePrimary({ keepsLog: true })
      await time.until(replication.promote(replication.replicas[next]!))
    }
    expect(await time.until(waiting)).toMatchObject({ message: expect.stringMatching(/^D1_ERROR: .*transient/) })
  })
})

test('a random lag is between 0 and the maximum, lasts for a while, and depends on the seed only', async () => {
  const draw = async () => {
    const clock = new VirtualTime()
    const lag = wanderingLag({ clock, random: seededRandom(7) }, 3_000)
    const drawn: number[] = []
    for (let step = 0; step < 400; step++) {
      drawn.push(lag(1))
      await clock.until(clock.sleep(50))
    }
    return drawn
  }
  const drawn = await draw()
  expect(await draw()).toEqual(drawn)
  expect(Math.min(...drawn)).toBeLessThan(100)
  expect(Math.max(...drawn)).toBeGreaterThan(2_000)
  expect(Math.max(...drawn)).toBeLessThanOrEqual(3_000)
  expect(new Set(drawn).size).toBeLessThan(100)
})
