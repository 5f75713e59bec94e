import { UserError } from '../shell/errors.ts'

/** Banyan's fields, each with what such a column is often called. */
const guesses = {
  externalId: ['external_id', 'id', 'user_id', 'uuid'],
  email: ['email', 'email_address', 'mail'],
  handle: ['handle', 'username', 'user_name', 'login', 'nickname'],
  displayName: ['display_name', 'name', 'full_name'],
  bio: ['bio', 'about'],
  createdAt: ['created_at', 'created', 'date_joined', 'joined_at'],
  emailVerifiedAt: ['email_verified_at', 'email_verified'],
  passwordHash: ['password_hash', 'password_digest', 'hashed_password', 'password'],
} as const

export type Field = keyof typeof guesses
export const fields = Object.keys(guesses) as Field[]
const required: Field[] = ['externalId', 'email', 'handle']

/** Which column each field is read from. */
export type Mapping = Partial<Record<Field, string>>

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/**
 * Reads `--map email=mail,handle=login`: what it doesn't name is guessed from the columns' names, `bio=` leaves a field
 * out. Throws UserError for an unknown field or column, and for a required field that nothing is found for.
 */
export function readMapping(text: string, columns: string[]): Mapping {
  const given = new Map<Field, string>()
  for (const pair of text.split(',').filter((one) => one.trim() !== '')) {
    const [field = '', column = ''] = pair.split('=').map((part) => part.trim())
    if (!pair.includes('=') || !isField(field))
      throw new UserError(`--map has "${pair.trim()}".`, `Write FIELD=COLUMN; the fields are ${fields.join(', ')}.`)
    given.set(field, column === '' ? '' : columnNamed(column, columns))
  }
  const mapping: Mapping = {}
  for (const field of fields) {
    const column = given.get(field) ?? guessed(field, columns)
    if (column) mapping[field] = column
  }
  const missing = required.filter((field) => !mapping[field])
  if (missing.length > 0)
    throw new UserError(
      `No column is known for ${missing.join(' and ')}.`,
      `Say which it is: --map ${missing.map((field) => `${field}=COLUMN`).join(',')}\nThe columns are ${columns.join(', ')}.`,
    )
  return mapping
}

const isField = (text: string): text is Field => Object.hasOwn(guesses, text)

function guessed(field: Field, columns: string[]): string | undefined {
  for (const name of guesses[field]) {
    const found = columns.find((column) => plain(column) === plain(name))
    if (found) return found
  }
  return undefined
}

function columnNamed(name: string, columns: string[]): string {
  const found = columns.find((column) => column === name) ?? columns.find((column) => plain(column) === plain(name))
  if (!found) throw new UserError(`There is no column "${name}".`, `The columns are ${columns.join(', ')}.`)
  return found
}

/** `email ← mail, handle ← login` */
export const mappingText = (mapping: Mapping): string =>
  fields.flatMap((field) => (mapping[field] ? `${field} ← ${mapping[field]}` : [])).join(', ')
