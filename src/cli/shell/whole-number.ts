import { UserError } from './errors.ts'

/** Parses plain decimal digits. Null for anything else: a sign, a space, an exponent or hex. */
export const decimalOf = (text: string): number | null => (/^(?:\d+(?:\.\d+)?|\.\d+)$/.test(text) ? Number(text) : null)

/** Reads an option that is a whole number from `min` to `max`. Throws UserError. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= min && number <= max) return number
  throw new UserError(`${option} is "${text}".`, `Pass a whole number from ${min} to ${max}.`)
}
