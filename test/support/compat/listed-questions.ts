import { connectionLost, linkedDatabase, routedShards } from '../sharding-doubles.ts'
import { databases } from '../sharding-slots.ts'
import type { Question } from './comparison.ts'
import { plain, SLOT } from './fixture.ts'
import { batchQuestion, freeQuestion } from './raw-api.ts'

const only = (differs: string, question: Question): Question => ({ ...question, differs, isForSessions: false })

/** A plain binding and a routed database that lose every answer after its effect. */
const losing = linkedDatabase(plain, async (send) => {
  await send()
  throw connectionLost()
})
const routedLosing = routedShards({ databases: { SHARD_000: losing } }).shards.of(SLOT)
const losingOf = (database: D1Database) => (database === plain ? losing : routedLosing)

/** A bookmark without the parts that differ between two of them. */
const nameless = (bookmark: string | null) => bookmark?.replace(/[0-9a-f]{8}(-[0-9a-f]+)+$/, 'bookmark')

/** Questions that only one row of "Differences from D1" covers. */
export const listedQuestions: Question[] = [
  only(
    'exec',
    freeQuestion('exec()', (database) => database.exec("SELECT 'one'")),
  ),
  only(
    'dump',
    freeQuestion('dump()', (database) => database.dump()),
  ),
  only(
    'foreign-statement',
    freeQuestion('a batch with another binding’s statement', (database) =>
      database.batch([database.prepare('SELECT 1 AS id'), databases.SHARD_001.prepare('SELECT 2 AS id')]),
    ),
  ),
  only(
    'foreign-statement',
    freeQuestion('a batch with another slot’s statement', (database) => {
      const other = routedShards({ databases }).shards.of('00ab').prepare('SELECT 2 AS id')
      return database === plain
        ? database.batch([databases.SHARD_001.prepare('SELECT 2 AS id')])
        : database.batch([other])
    }),
  ),
  ...['UPDATE items SET n = 3', 'DELETE FROM serials RETURNING id, id'].flatMap((sql) => [
    only(
      'lost-answer',
      freeQuestion(`run() of ${sql}`, (database) => losingOf(database).prepare(sql).run(), true),
    ),
    only(
      'lost-answer',
      freeQuestion(`raw() of ${sql}`, (database) => losingOf(database).prepare(sql).raw(), true),
    ),
  ]),
  batchQuestion('an empty text between two reads', [{ sql: 'SELECT 1 AS a' }, { sql: '' }, { sql: 'SELECT 2 AS b' }]),
  batchQuestion('an empty text after a write', [{ sql: 'DELETE FROM serials' }, { sql: ' \n ' }]),
  only(
    'session-bookmark',
    freeQuestion(
      'the bookmark of a session',
      async (database) => {
        const session = database.withSession()
        const bookmarks = [session.getBookmark()]
        await session.prepare('SELECT 1').run()
        bookmarks.push(session.getBookmark())
        await session.batch([session.prepare('UPDATE items SET n = 3')])
        bookmarks.push(session.getBookmark())
        return bookmarks.map(nameless)
      },
      true,
    ),
  ),
]

/** Rows larger than the limit. */
export const largeRows: Question[] = [
  freeQuestion(
    'a row of 300 KB',
    (database) => database.prepare("INSERT INTO items (id, name) VALUES ('00aa-l', ?)").bind('x'.repeat(300_000)).run(),
    true,
  ),
  freeQuestion(
    'a row that grows to 300 KB',
    (database) => database.prepare('UPDATE items SET name = ? RETURNING id, id').bind('x'.repeat(300_000)).raw(),
    true,
  ),
]
