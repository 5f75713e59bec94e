import { BanyanError } from '../../../src/core/errors.ts'

/** A database's answer to a question: a value, or an error and the stage that threw it. */
export type Answer =
  | { value: unknown }
  /** `text`: a pattern for the expected message, if its exact words are unknown. */
  | { stage: Stage; error: DescribedError; text?: RegExp }

/** `bind` and `call` throw synchronously; `answer` is a rejected promise. */
export type Stage = 'prepare' | 'bind' | 'call' | 'answer'

/** An error as plain data. `code` is a BanyanError's; `cause` is followed down to the last one. */
export interface DescribedError {
  class: string
  code?: string
  message: string
  cause: DescribedError | string | null
}

/** Runs `ask` and catches an error of any stage. `ask` reports the stage that comes next. */
export async function answerTo(ask: (stage: (next: Stage) => void) => unknown): Promise<Answer> {
  let stage: Stage = 'prepare'
  try {
    const answer = ask((next) => {
      stage = next
    })
    stage = 'answer'
    return { value: await answer }
  } catch (error) {
    return { stage, error: describedError(error) }
  }
}

function describedError(error: unknown): DescribedError {
  if (!(error instanceof Error)) return { class: 'no Error', message: described(error), cause: null }
  const { cause } = error
  return {
    class: error instanceof BanyanError ? 'BanyanError' : error.constructor.name,
    ...(error instanceof BanyanError ? { code: error.code } : {}),
    message: error.message.replace(/reference = \w+/, 'reference = …'),
    cause: cause === undefined ? null : cause instanceof Error ? describedError(cause) : described(cause),
  }
}

/** The fields of `meta` that differ between two runs of the same statement. */
const timed = new Set(['duration', 'served_by', 'timings'])

/** A text that is equal only for values of the same types with keys in the same order. */
export function described(value: unknown): string {
  switch (typeof value) {
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'bigint':
      return `${value}n`
    case 'string':
      return JSON.stringify(value)
    case 'object':
      return value === null ? 'null' : describedObject(value)
    default:
      return String(value)
  }
}

function describedObject(value: object): string {
  const name: string = Object.getPrototypeOf(value)?.constructor?.name ?? 'no prototype'
  if (Array.isArray(value)) return `[${Array.from(value, described).join(', ')}]`
  if (value instanceof ArrayBuffer) return `ArrayBuffer ${described([...new Uint8Array(value)])}`
  if (ArrayBuffer.isView(value))
    return `${name} ${described([...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)])}`
  if (value instanceof Date) return `Date ${value.getTime()}`
  const fields = Object.entries(value).map(([key, field]) =>
    key === 'meta' ? `meta: ${describedMeta(field as object)}` : `${JSON.stringify(key)}: ${described(field)}`,
  )
  return `${name === 'Object' ? '' : `${name} `}{${fields.join(', ')}}`
}

const describedMeta = (meta: object): string =>
  described(Object.fromEntries(Object.entries(meta).filter(([field]) => !timed.has(field))))

/**
 * The answer, with its message replaced by the expected one if it matches the expected pattern; also in a cause that
 * repeats the message.
 */
export function matched(answer: Answer, expected: Answer): Answer {
  if ('value' in answer || 'value' in expected || !expected.text?.test(answer.error.message)) return answer
  const { cause } = answer.error
  const repeats = typeof cause === 'object' && cause !== null && answer.error.message.endsWith(`: ${cause.message}`)
  const { message } = expected.error
  return { ...answer, error: { ...answer.error, message, cause: repeats ? { ...cause, message } : cause } }
}

export const describedAnswer = (answer: Answer): string =>
  'value' in answer ? described(answer.value) : `${answer.stage}: ${errorText(answer.error)}`

function errorText({ class: name, code, message, cause }: DescribedError): string {
  const below = cause === null ? '' : ` ← ${typeof cause === 'string' ? cause : errorText(cause)}`
  return `${name}${code === undefined ? '' : ` ${code}`} ${JSON.stringify(message)}${below}`
}
