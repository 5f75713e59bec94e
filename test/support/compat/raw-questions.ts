import type { Question } from './comparison.ts'
import { largeRows, listedQuestions } from './listed-questions.ts'
import { failedBatches, firstQuestions, mistakes } from './mistakes.ts'
import { product } from './raw-api.ts'
import { reads } from './reads.ts'
import { sessionQuestions } from './session-questions.ts'
import { scratchQuestions, statementQuestions, valueQuestions } from './values.ts'
import { unusualWrites, writes } from './writes.ts'

/** All questions of the raw API, by subject. */
export const rawQuestions: Record<string, Question[]> = {
  reads: product(reads, false),
  writes: product(writes, true),
  'unusual writes': product(unusualWrites, true),
  values: valueQuestions,
  'values that change later': scratchQuestions,
  'statements and batches': statementQuestions,
  ...mistakes,
  'batches that fail': failedBatches,
  'first(column)': firstQuestions,
  sessions: sessionQuestions,
  'large rows': largeRows,
  'listed differences': listedQuestions,
}

/** Each of nine methods is asked of each statement in turn; all of them in test/long/workerd. */
const sampledBy: Record<string, number> = { writes: 4, 'unusual writes': 2 }

/** The questions of the default suite. */
export const someRawQuestions: Record<string, Question[]> = Object.fromEntries(
  Object.entries(rawQuestions).map(([subject, questions]) => [
    subject,
    questions.filter((_, place) => place % (sampledBy[subject] ?? 1) === 0),
  ]),
)

/** Those that restore no rows come first, in one state. */
export const readsApart = (questions: Question[]): Question[] => [
  ...questions.filter(({ changesRows }) => !changesRows),
  ...questions.filter(({ changesRows }) => changesRows),
]

/** Asked while the slot moves, too: what writes, and batches. */
export const questionsWhileMoving: Question[] = [
  ...product(writes, true, ['run', 'raw', 'batch beside a read']).filter((_, place) => place % 4 === 0),
  ...product(unusualWrites, true, ['run', 'raw with names']).filter((_, place) => place % 2 === 0),
  ...product(reads, false, ['all', 'raw']).filter((_, place) => place % 8 === 0),
  ...statementQuestions,
]
