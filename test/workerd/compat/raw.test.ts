import { beforeAll, expect, test } from 'vitest'
import { expectSameAnswers, expectSameWhenReadOnly, expectSameWhileMoving } from '../../support/compat/comparison.ts'
import { exercised, knownIds, listed } from '../../support/compat/differences.ts'
import { createTables } from '../../support/compat/fixture.ts'
import {
  questionsWhileMoving,
  readOnlyQuestions,
  readsApart,
  someRawQuestions,
} from '../../support/compat/raw-questions.ts'

beforeAll(createTables)

test('at least 600 different questions are asked of the raw API', () => {
  const names = Object.values(someRawQuestions).flatMap((questions) => questions.map(({ name }) => name))
  expect(new Set(names).size).toBeGreaterThanOrEqual(600)
})

// The timeout is long, so a busy machine does not decide the result.
const timeout = 120_000

test.each(Object.entries(someRawQuestions))('the raw API answers as D1 does: %s', { timeout }, async (_, questions) => {
  await expectSameAnswers(readsApart(questions), 'some')
})

test('while the slot moves, values and meta.changes are those of D1', { timeout }, async () => {
  await expectSameWhileMoving(questionsWhileMoving)
})

test('a shard that takes no writes answers every form of a read', { timeout }, async () => {
  await expectSameWhenReadOnly(readOnlyQuestions)
})

test('docs/sharding.md lists exactly the differences that the suite has met', () => {
  expect(listed.map(({ id }) => id).sort()).toEqual(knownIds.toSorted())
  expect([...exercised].sort()).toEqual(knownIds.toSorted())
})
