import { present } from '../core/present.ts'

declare const ROW: unique symbol

/** A statement whose rows have this type. Only the compiler sees the mark; no such property exists. */
export type Typed<Row, Statement = D1PreparedStatement> = Statement & { readonly [ROW]?: Row }

/** Declares the type of a statement's rows. */
export const rowsOf = <Row>(statement: D1PreparedStatement): Typed<Row> => statement

type RowOf<Statement> = Statement extends { readonly [ROW]?: infer Row } ? Row : unknown

/** Statements by name, in order. A name must not be a whole number, because JavaScript puts such keys first. */
export type NamedBatch<Statement = D1PreparedStatement> = Readonly<Record<string, Statement | readonly Statement[]>>

/** The answer to each name, or a list of answers to a list of statements. */
export type AnswersOf<Batch> = {
  [Name in keyof Batch]: Batch[Name] extends readonly (infer Statement)[]
    ? D1Result<RowOf<Statement>>[]
    : D1Result<RowOf<Batch[Name]>>
}

/** A batch whose answers are read by name. Works on a `D1Database`, a session of it, and a routed database. */
export async function batchByName<Batch extends NamedBatch>(
  database: Pick<D1Database, 'batch'>,
  batch: Batch,
): Promise<AnswersOf<Batch>> {
  return answersByName(batch, (await database.batch(statementsOf(batch))).values())
}

export const statementsOf = <Statement>(batch: NamedBatch<Statement>): Statement[] =>
  Object.values(batch).reduce<Statement[]>((all, one) => all.concat(one), [])

/** Takes the answers to `statementsOf(batch)` from the remaining answers. */
export function answersByName<Batch extends NamedBatch<unknown>>(
  batch: Batch,
  answers: Iterator<D1Result>,
): AnswersOf<Batch> {
  const next = () => present(answers.next().value, 'an answer to each statement')
  const entries = Object.entries(batch).map(([name, one]) => [name, Array.isArray(one) ? one.map(next) : next()])
  return Object.fromEntries(entries) as AnswersOf<Batch>
}

/** The row of a statement that always returns one, such as a count. */
export const onlyRow = <Row>({ results }: D1Result<Row>): NonNullable<Row> => present(results[0], 'a row')
