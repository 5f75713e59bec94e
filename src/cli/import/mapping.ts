import { UserError } from '../shell/errors.ts'
import type { Importer, ImportField } from './noun.ts'

type Fields = Importer['fields']

/** The column of each field. */
export type Mapping = Readonly<Record<string, string>>

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/**
 * Reads `--map FIELD=COLUMN,…`. Other fields are guessed from the columns' names, and `FIELD=` omits a field. Throws
 * UserError for an unknown field or column, and for a required field without a column.
 */
export function readMapping(fields: Fields, text: string, columns: string[]): Mapping {
  const given = new Map<string, string>()
  for (const pair of text.split(',').filter((one) => one.trim() !== '')) {
    const [field = '', column = ''] = pair.split('=').map((part) => part.trim())
    if (!pair.includes('=') || !Object.hasOwn(fields, field))
      throw new UserError(
        `--map has "${pair.trim()}", which ${pair.includes('=') ? 'does not name a field' : 'has no ='}.`,
        `Write FIELD=COLUMN with one of the fields ${Object.keys(fields).join(', ')}.`,
      )
    given.set(field, column === '' ? '' : columnNamed(column, columns))
  }
  const mapping: Record<string, string> = {}
  for (const [name, field] of Object.entries(fields)) {
    const column = given.get(name) ?? guessed(field, columns)
    if (column) mapping[name] = column
  }
  const missing = Object.keys(fields).filter((name) => fields[name]?.isRequired && !mapping[name])
  if (missing.length > 0)
    throw new UserError(
      `No column was found for ${missing.join(' and ')}.`,
      `Pass it: --map ${missing.map((field) => `${field}=COLUMN`).join(',')}\nThe columns are ${columns.join(', ')}.`,
    )
  return mapping
}

function guessed(field: ImportField, columns: string[]): string | undefined {
  for (const name of field.columns) {
    const found = columns.find((column) => plain(column) === plain(name))
    if (found) return found
  }
  return undefined
}

function columnNamed(name: string, columns: string[]): string {
  const found = columns.find((column) => column === name) ?? columns.find((column) => plain(column) === plain(name))
  if (!found) throw new UserError(`The file has no column "${name}".`, `Use one of its columns ${columns.join(', ')}.`)
  return found
}

/** `externalId ← id, name ← full_name`, in the order of the fields. */
export const mappingText = (mapping: Mapping): string =>
  Object.entries(mapping)
    .map(([field, column]) => `${field} ← ${column}`)
    .join(', ')
