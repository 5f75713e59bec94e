import { UserError } from './errors.ts'

/** A number in plain decimal digits, or null: no sign, space, exponent or hex. */
export const decimalOf = (text: string): number | null => (/^(?:\d+(?:\.\d+)?|\.\d+)$/.test(text) ? Number(text) : null)

/** Reads an option that is a whole number between two others. Throws UserError. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= min && number <= max) return number
  throw new UserError(`${option} is "${text}".`, `It may be a whole number from ${min} to ${max}.`)
}
