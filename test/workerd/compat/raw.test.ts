import { beforeAll, expect, test } from 'vitest'
import { expectSameAnswers } from '../../support/compat/comparison.ts'
import { createTables } from '../../support/compat/fixture.ts'
import { readsApart, someRawQuestions } from '../../support/compat/raw-questions.ts'

beforeAll(createTables)

test('at least 600 different questions are asked of the raw API', () => {
  const names = Object.values(someRawQuestions).flatMap((questions) => questions.map(({ name }) => name))
  expect(new Set(names).size).toBeGreaterThanOrEqual(600)
})

test.each(Object.entries(someRawQuestions))('the raw API answers as D1 does: %s', async (_, questions) => {
  await expectSameAnswers(readsApart(questions), 'some')
})
