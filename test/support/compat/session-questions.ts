import type { Question } from './comparison.ts'
import { freeQuestion } from './raw-api.ts'

/** How a session's bookmark changed. Its form is specific to a database, but its order is not. */
type Step = 'none' | 'first' | 'same' | 'later' | 'earlier'

const step = (before: string | null, after: string | null): Step => {
  if (after === null) return 'none'
  if (before === null) return 'first'
  return after === before ? 'same' : after > before ? 'later' : 'earlier'
}

type Send = (session: D1DatabaseSession) => Promise<unknown>

const read: Send = (session) => session.prepare('SELECT id FROM items ORDER BY id').all()
const write: Send = (session) => session.prepare('UPDATE items SET n = coalesce(n, 0) + 1').run()

const sends: Record<string, Send> = {
  'all()': read,
  'first()': (session) => session.prepare('SELECT id FROM items ORDER BY id').first(),
  'raw()': (session) => session.prepare('SELECT id, id FROM items ORDER BY id').raw(),
  'raw() of PRAGMA': (session) => session.prepare('PRAGMA table_info(items)').raw({ columnNames: true }),
  'a batch of reads': (session) => session.batch([session.prepare('SELECT 1'), session.prepare('SELECT 2')]),
  'a write': write,
  'raw() of a write': (session) => session.prepare('UPDATE items SET r = 7 RETURNING id, id, 1').raw(),
  'a batch with a write': (session) =>
    session.batch([session.prepare('SELECT 1'), session.prepare('DELETE FROM serials')]),
}

/** Sends one after another, and returns the bookmark's step after each. */
async function steps(session: D1DatabaseSession, ...asked: Send[]): Promise<Step[]> {
  const taken: Step[] = []
  for (const send of asked) {
    const before = session.getBookmark()
    await send(session)
    taken.push(step(before, session.getBookmark()))
  }
  return taken
}

const bookmarkAfter = async (database: D1Database, send: Send): Promise<string> => {
  const session = database.withSession('first-primary')
  await send(session)
  return session.getBookmark()!
}

const starts = [undefined, '', '  ', 'first-primary', 'first-unconstrained'] as const

/** A session of the routed database behaves like a session of D1. */
export const sessionQuestions: Question[] = [
  ...starts.map((start) =>
    freeQuestion(`a session from ${JSON.stringify(start)}: before and after its first answer`, async (database) => {
      const session = database.withSession(start)
      return [session.getBookmark(), await steps(session, read, read)]
    }),
  ),
  freeQuestion(
    'a session from a bookmark, unused',
    async (database) => {
      const bookmark = await bookmarkAfter(database, write)
      return database.withSession(bookmark).getBookmark() === bookmark
    },
    true,
  ),
  freeQuestion('a session from a bookmark with blanks around it, unused', async (database) => {
    const bookmark = await bookmarkAfter(database, read)
    return database.withSession(` ${bookmark}\n`).getBookmark() === bookmark
  }),
  freeQuestion(
    'a session from a bookmark, used',
    async (database) => {
      const bookmark = await bookmarkAfter(database, write)
      const session = database.withSession(bookmark)
      const answer = await session.prepare('SELECT sum(n) AS n FROM items').first('n')
      return [answer, step(bookmark, session.getBookmark())]
    },
    true,
  ),
  ...Object.entries(sends).map(([name, send]) =>
    freeQuestion(`the first answer of a session: ${name}`, (database) => steps(database.withSession(), send), true),
  ),
  ...Object.entries(sends).map(([name, send]) =>
    freeQuestion(
      `the bookmark rises and never decreases: ${name} between others`,
      (database) => steps(database.withSession('first-primary'), read, send, read, write, send, read),
      true,
    ),
  ),
  freeQuestion('a refused statement does not change the bookmark', async (database) => {
    const session = database.withSession()
    await read(session)
    const refused: Send = (one) =>
      one
        .prepare('SELECT none FROM items')
        .all()
        .catch(() => null)
    return steps(session, refused, refused, read)
  }),
  freeQuestion(
    'a session after writes outside of it',
    async (database) => {
      const session = database.withSession('first-primary')
      const taken = await steps(session, read)
      await database.prepare('UPDATE items SET n = 5').run()
      return [
        ...taken,
        ...(await steps(session, read)),
        await session.prepare('SELECT max(n) AS n FROM items').first('n'),
      ]
    },
    true,
  ),
  freeQuestion(
    'answers at once',
    async (database) => {
      const session = database.withSession()
      await read(session)
      const before = session.getBookmark()
      const answers = await Promise.all([
        session.prepare('UPDATE items SET n = 5').run(),
        session.prepare('UPDATE items SET n = 6').run(),
      ])
      return [answers.length, step(before, session.getBookmark())]
    },
    true,
  ),
  freeQuestion('statements of a session in a batch of the database, and vice versa', async (database) => {
    const session = database.withSession()
    return [
      await database.batch([session.prepare('SELECT 1 AS a'), database.prepare('SELECT 2 AS b')]),
      await session.batch([session.prepare('SELECT 1 AS a'), database.prepare('SELECT 2 AS b')]),
    ]
  }),
  freeQuestion('a session has no exec, dump or withSession', (database) =>
    ['exec', 'dump', 'withSession', 'prepare', 'batch', 'getBookmark'].map(
      (name) => typeof Reflect.get(database.withSession(), name),
    ),
  ),
].map((question) => ({ ...question, isForSessions: false }))
