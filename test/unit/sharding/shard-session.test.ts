import { expect, test } from 'vitest'
import type { ShardEntry } from '../../../src/sharding/shard-map.ts'
import { ShardSession } from '../../../src/sharding/shard-session.ts'

const entry = (id: string, minBookmark?: string): ShardEntry => ({
  id,
  binding: id,
  state: 'serving',
  ...(minBookmark === undefined ? {} : { minBookmark }),
})
const [a, b] = [entry('shard-000'), entry('shard-001')]

/** D1's sessions as its client keeps them: the latest of the start bookmark and those of the answers. */
class Sessions {
  readonly opened: string[] = []

  readonly database = {
    withSession: (start: string) => {
      this.opened.push(start)
      let bookmark = start.startsWith('first-') ? null : start
      return {
        getBookmark: () => bookmark,
        answered: (at: string) => {
          if (bookmark === null || bookmark < at) bookmark = at
        },
      }
    },
  } as unknown as D1Database
}

/** A call whose answer arrives when told to. */
function held() {
  const { promise, resolve } = Promise.withResolvers<string>()
  const send = async (session: D1DatabaseSession) =>
    (session as unknown as { answered(at: string): void }).answered(await promise)
  return { send, answer: resolve }
}
const at = (bookmark: string) => {
  const call = held()
  call.answer(bookmark)
  return call.send
}

test.each([
  ['shard-000:0005', 'shard-000:0005'],
  ['  shard-000:0005 ', 'shard-000:0005'],
  ['first-primary', null],
  [' first-unconstrained ', null],
  ['', null],
  [' ', null],
])('a session opened with %j and not yet used returns the bookmark %j', (start, bookmark) => {
  expect(new ShardSession(start).bookmark).toBe(bookmark)
})

test('an exact read advances the session, so a later read starts at the read’s bookmark', async () => {
  const { database, opened } = new Sessions()
  const session = new ShardSession('first-unconstrained')
  await session.ask(a, database, at('0003'))
  await session.askPrimary(a, database, at('0009'))
  expect(session.bookmark).toBe('shard-000:0009')
  await session.ask(a, database, at('0009'))
  await session.ask(a, database, at('0009'))
  expect(opened).toEqual(['first-unconstrained', 'first-primary', '0009'])
})

test('the bookmark of a first, exact read is also kept', async () => {
  const { database, opened } = new Sessions()
  const session = new ShardSession('shard-000:0005')
  await session.askPrimary(a, database, at('0009'))
  await session.ask(a, database, at('0009'))
  expect(opened).toEqual(['first-primary', '0009'])
})

test('answers that overtake each other leave the latest bookmark', async () => {
  const { database, opened } = new Sessions()
  const session = new ShardSession('first-unconstrained')
  const [slow, exact] = [held(), held()]
  const calls = [session.ask(a, database, slow.send), session.askPrimary(a, database, exact.send)]
  exact.answer('0012')
  await calls[1]
  slow.answer('0008')
  await calls[0]
  expect(session.bookmark).toBe('shard-000:0012')
  await session.ask(a, database, at('0012'))
  expect(opened.at(-1)).toBe('0012')
  await session.askPrimary(a, database, at('0011'))
  expect(session.bookmark).toBe('shard-000:0012')
})

test('after a move, it starts at the new owner’s primary, and late answers of the old one change nothing', async () => {
  const [first, second] = [new Sessions(), new Sessions()]
  const session = new ShardSession('first-unconstrained')
  await session.ask(a, first.database, at('0007'))
  const late = held()
  const lateCall = session.askPrimary(a, first.database, late.send)
  const moved = held()
  const movedCall = session.ask(b, second.database, moved.send)
  late.answer('0099')
  await lateCall
  expect(session.bookmark).toBe('shard-000:0007')
  moved.answer('0002')
  await movedCall
  expect(session.bookmark).toBe('shard-001:0002')
  await session.ask(b, second.database, at('0003'))
  expect(second.opened).toEqual(['first-primary'])
})

test('slots that moved to the shard meanwhile are visible, because the map’s bookmark is later than the session’s', async () => {
  const { database, opened } = new Sessions()
  const session = new ShardSession('shard-000:0005')
  await session.ask(a, database, at('0006'))
  await session.ask(entry('shard-000', '0008'), database, at('0008'))
  await session.ask(entry('shard-000', '0008'), database, at('0008'))
  await session.askPrimary(a, database, at('0010'))
  await session.ask(entry('shard-000', '0008'), database, at('0010'))
  expect(opened).toEqual(['0005', '0008', 'first-primary', '0010'])
})

test('a failing call does not change the session', async () => {
  const { database } = new Sessions()
  const session = new ShardSession('shard-000:0005')
  await expect(session.ask(a, database, () => Promise.reject(new Error('lost')))).rejects.toThrow('lost')
  expect(session.bookmark).toBe('shard-000:0005')
})
