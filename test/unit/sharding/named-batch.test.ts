import { expect, test } from 'vitest'
import { batchByName, onlyRow, rowsOf } from '../../../src/sharding/named-batch.ts'

/** A database whose statements answer with their own text. It answers a given number of statements. */
function echo(answered = Number.POSITIVE_INFINITY) {
  const sent: string[] = []
  const prepare = (sql: string) => ({ sql }) as unknown as D1PreparedStatement
  const batch = async <T>(statements: D1PreparedStatement[]) => {
    const texts = (statements as unknown as { sql: string }[]).map(({ sql }) => sql)
    sent.push(...texts)
    return texts.slice(0, answered).map((sql) => ({ results: [{ sql }] })) as unknown as D1Result<T>[]
  }
  return { sent, database: { prepare, batch } }
}

const lists = [
  { name: 'none', before: [] },
  { name: 'one', before: ['a'] },
  { name: 'three', before: ['a', 'b', 'c'] },
]

test.each(lists)('a name after a list of $name has its own answer, and so does the list', async ({ before }) => {
  const { sent, database } = echo()
  const answers = await batchByName(database, {
    before: before.map((text) => rowsOf<{ sql: string }>(database.prepare(text))),
    changed: rowsOf<{ sql: string }>(database.prepare('changed')),
    between: [rowsOf<{ sql: string }>(database.prepare('between'))],
    ended: rowsOf<{ sql: string }>(database.prepare('ended')),
  })
  expect(sent).toEqual([...before, 'changed', 'between', 'ended'])
  expect(answers.before.map((answer) => onlyRow(answer).sql)).toEqual(before)
  expect(answers.changed.results.map(({ sql }) => sql)).toEqual(['changed'])
  expect(answers.between.map((answer) => onlyRow(answer).sql)).toEqual(['between'])
  expect(onlyRow(answers.ended).sql).toBe('ended')
})

test('a missing answer of the database is detected', async () => {
  const { database } = echo(1)
  const sent = batchByName(database, { changed: database.prepare('changed'), ended: database.prepare('ended') })
  await expect(sent).rejects.toThrow('Expected an answer to each statement, and there is none.')
})

test('a missing row that must exist is reported', () => {
  expect(() => onlyRow({ results: [] as object[] } as D1Result<object>)).toThrow('Expected a row, and there is none.')
})
