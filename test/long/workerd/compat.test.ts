import { beforeAll, test } from 'vitest'
import { expectSameAnswers } from '../../support/compat/comparison.ts'
import { createTables } from '../../support/compat/fixture.ts'
import { rawQuestions, readsApart } from '../../support/compat/raw-questions.ts'

beforeAll(createTables)

// The default suite asks some of these questions, and each on one or two ways.
test.each(Object.entries(rawQuestions))(
  'every question of the raw API, on every way: %s',
  { timeout: 300_000 },
  async (_, questions) => {
    await expectSameAnswers(readsApart(questions), 'every')
  },
)
