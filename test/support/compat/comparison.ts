import type { MapWire } from '../../../src/sharding/shard-map.ts'
import { mapWire, routedShards, ScriptedSource } from '../sharding-doubles.ts'
import { databases, type SlotState } from '../sharding-slots.ts'
import { type Answer, answerTo, described, describedAnswer, matched, type Stage } from './answers.ts'
import { type Asked, expectedOf } from './differences.ts'
import { plain, restored, SLOT } from './fixture.ts'

const { shards } = routedShards({ databases })
const leased = shards.of(SLOT)
const exact = shards.of(SLOT, { read: 'exact' })
/** `prepare` and `batch` of a session have D1's types. */
const sessions = [leased, exact].map((database) => database.withSession() as unknown as D1Database)

/** The databases that are compared to D1. */
export const ways = [
  ['leased', leased],
  ['exact', exact],
  ['in a session', sessions[0]!],
  ['exact in a session', sessions[1]!],
] as const

const readOnlyMap: MapWire = {
  ...mapWire(1, 1_000_000, 0),
  shards: mapWire(1, 0, 0).shards.map((shard) => ({ ...shard, state: 'read-only' })),
}
const readOnlyShards = routedShards({ databases, source: new ScriptedSource(() => readOnlyMap) }).shards
const readOnly = [
  ['leased', readOnlyShards.of(SLOT)],
  ['exact', readOnlyShards.of(SLOT, { read: 'exact' })],
] as const

/** A question to a database. `ask` reports which stage starts, so that an answer tells where it failed. */
export interface Question extends Asked {
  /** The rows are restored before each answer and compared after it. */
  changesRows: boolean
  /** False if it uses something that a session's database does not have. */
  isForSessions?: boolean
  ask(database: D1Database, stage: (next: Stage) => void): unknown
}

/**
 * `every`: asks each question on each way. `some`: always on leased; on the others if their code differs, or in turn.
 */
export type Extent = 'every' | 'some'

const waysOf = ({ changesRows, isForSessions = true }: Question, place: number, extent: Extent) =>
  ways.filter(
    ([, database], way) =>
      (isForSessions || !sessions.includes(database)) &&
      (extent === 'every' || way === 0 || (way === 1 && !changesRows) || place % 4 === way),
  )

/** So many refused questions share one check of the rows, because a check takes longer than they do. */
const refusedMax = 20

/** Asks D1 and the routed databases. A failure names each question with a different answer, and both answers. */
export async function expectSameAnswers(questions: Question[], extent: Extent): Promise<void> {
  const wrong: string[] = []
  await restored()
  const rows = described(await restored())
  const refused: string[] = []
  const expectUnchanged = async () => {
    const left = described(await restored())
    if (left !== rows) wrong.push(`A refused question changed the rows, one of:\n  ${refused.join('\n  ')}\n  ${left}`)
    refused.length = 0
  }
  for (const [place, question] of questions.entries()) {
    const asked = await answerTo((stage) => question.ask(plain, stage))
    const expected = expectedOf(asked, question)
    const restores = question.changesRows && wasApplied(asked, question)
    const left = restores ? described(await restored()) : ''
    const isRefused = 'value' in asked && 'error' in expected
    for (const [way, database] of waysOf(question, place, extent)) {
      wrong.push(...differences(question, way, expected, await answerTo((stage) => question.ask(database, stage))))
      const after = restores ? described(await restored()) : ''
      const wanted = restores && isRefused ? rows : left
      if (after !== wanted) wrong.push(differing(question, `rows after ${way}`, wanted, after))
    }
    if (!restores) refused.push(question.name)
    if (refused.length >= refusedMax) await expectUnchanged()
  }
  await expectUnchanged()
  failOf(wrong, questions)
}

/** `first` of a missing column fails after its statement has run. A lost answer also leaves the effect. */
const wasApplied = (answer: Answer, { differs }: Question) =>
  'value' in answer || differs === 'lost-answer' || answer.error.message.startsWith('D1_COLUMN_NOTFOUND')

/**
 * While the slot moves, the mover's triggers write too. The routed database must give D1's answer for a slot that does
 * not move, except for the fields of `meta` that count the triggers' writes.
 */
export async function expectSameWhileMoving(questions: Question[]): Promise<void> {
  const wrong: string[] = []
  const askIn = async (state: SlotState, database: D1Database, question: Question) => {
    await restored(state)
    return untouchedByCapture(await answerTo((stage) => question.ask(database, stage)))
  }
  for (const [place, question] of questions.entries()) {
    const expected = expectedOf(await askIn('active', plain, question), question)
    for (const [way, database] of waysOf(question, place, 'some'))
      wrong.push(...differences(question, `${way}, moving`, expected, await askIn('moving', database, question)))
  }
  await restored()
  failOf(wrong, questions)
}

const captured = new Set(['rows_read', 'rows_written', 'size_after', 'changed_db'])

function untouchedByCapture(answer: Answer): Answer {
  if (!('value' in answer)) return answer
  const { value } = answer
  return { value: Array.isArray(value) ? value.map(withoutCaptured) : withoutCaptured(value) }
}

function withoutCaptured(result: unknown): unknown {
  if (typeof result !== 'object' || result === null || !('meta' in result)) return result
  const meta = Object.entries(result.meta as object).filter(([field]) => !captured.has(field))
  return { ...result, meta: Object.fromEntries(meta) }
}

/** While its shard takes no writes, a statement that reads is sent as a read, whatever its form. */
export async function expectSameWhenReadOnly(questions: Question[]): Promise<void> {
  const wrong: string[] = []
  await restored()
  for (const question of questions) {
    const expected = expectedOf(await answerTo((stage) => question.ask(plain, stage)), question)
    for (const [way, database] of readOnly) {
      const answer = await answerTo((stage) => question.ask(database, stage))
      wrong.push(...differences(question, `${way}, read-only`, expected, answer))
    }
  }
  failOf(wrong, questions)
}

function failOf(wrong: string[], questions: Question[]): void {
  if (wrong.length > 0)
    throw new Error(`Of ${questions.length} questions, ${wrong.length} answers differ\n\n${wrong.join('\n\n')}`)
}

const lengthMax = 1_500
const shortened = (text: string) => (text.length > lengthMax ? `${text.slice(0, lengthMax)} …` : text)

function differences(question: Question, way: string, expected: Answer, answer: Answer): string[] {
  const [want, got] = [describedAnswer(expected), describedAnswer(matched(answer, expected))]
  return want === got ? [] : [differing(question, way, want, got)]
}

const differing = ({ name }: Question, way: string, expected: string, got: string): string =>
  `${name}, ${way}\n  D1     ${shortened(expected)}\n  routed ${shortened(got)}`
