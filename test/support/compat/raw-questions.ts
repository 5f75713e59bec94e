import type { Question } from './comparison.ts'
import { largeRows, listedQuestions } from './listed-questions.ts'
import { failedBatches, firstQuestions, longTexts, mistakes, textsAtTheLimit } from './mistakes.ts'
import { product } from './raw-api.ts'
import { changesBefore, reads } from './reads.ts'
import { sessionQuestions } from './session-questions.ts'
import { arrayQuestion, scratchQuestions, statementQuestions, valueQuestions } from './values.ts'
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
  'long texts': [...longTexts, ...textsAtTheLimit],
  'batches that fail': failedBatches,
  'first(column)': firstQuestions,
  sessions: sessionQuestions,
  'large rows': largeRows,
  'listed differences': [
    ...listedQuestions,
    arrayQuestion,
    ...product(changesBefore, false).map((question) => ({ ...question, differs: 'changes-before-batch' })),
  ],
}

/** Selects the part of a large product for the default suite. test/long/workerd asks all of it. */
const sampled: Record<string, (place: number) => boolean> = {
  // Each statement has nine methods, which take turns.
  reads: (place) => place % 4 === 0,
  writes: (place) => place % 4 === 0,
  'unusual writes': (place) => place % 2 === 0,
  // Read back by all(), and stored by a write that returns its names.
  values: (place) => place % 6 === 0 || place % 6 === 4,
}

/** The questions of the default suite. */
export const someRawQuestions: Record<string, Question[]> = Object.fromEntries(
  Object.entries(rawQuestions).map(([subject, questions]) => [
    subject,
    questions.filter((_, place) => sampled[subject]?.(place) ?? true),
  ]),
)

/** Questions that restore no rows come first, in one state. */
export const readsApart = (questions: Question[]): Question[] => [
  ...questions.filter(({ changesRows }) => !changesRows),
  ...questions.filter(({ changesRows }) => changesRows),
]

/** Also asked while the slot moves: writes and batches. */
export const questionsWhileMoving: Question[] = [
  ...product(writes, true, ['run', 'raw', 'batch beside a read']).filter((_, place) => place % 8 === 0),
  ...product(unusualWrites, true, ['run', 'raw with names']).filter((_, place) => place % 3 === 0),
  ...product(reads, false, ['all', 'raw']).filter((_, place) => place % 8 === 0),
  ...statementQuestions,
]

/** Texts that read, but cannot be recognised as reads, so the router sends them as writes. */
const uncertain = new Set(['two reads', 'a semicolon before'])

/** Asked of a shard that takes no writes. */
export const readOnlyQuestions: Question[] = product(
  Object.fromEntries(Object.entries(reads).filter(([name]) => !uncertain.has(name))),
  false,
  ['all', 'raw', 'batch beside a read'],
).filter((_, place) => place % 2 === 0)
