import { existsSync, readFileSync, rmSync } from 'node:fs'
import { replaceFile } from './replace-file.ts'
import type { Ownership } from './shard-ownership.ts'

interface Begun {
  shard: string
  databaseId: string
  /** RFC 3339. */
  to: string
}

/** Written before the first change, and again when it was brought back: what the shard has may still change. */
export interface TakenOut extends Begun {
  stage: 'taken-out'
}

/** Written before the time travel: what was, read while nobody writes and no move can come. `wayBack` is a bookmark. */
export interface Travelling extends Begun, Ownership {
  stage: 'travelling'
  wayBack: string
}

/** Written before it is put into service. From then on it may have new writes, and is not taken back by this restore. */
export interface Reconciled extends Begun, Ownership {
  stage: 'reconciled'
  wayBack: string
  /** How many migrations were applied again. */
  migrated: number
}

/** The place of a restore, so that a run that was cut off can be gone on with, or given up. */
export type Note = TakenOut | Travelling | Reconciled

export const readNote = (file: string): Note | null =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Note) : null

export function keepNote<N extends Note>(file: string, note: N): N {
  replaceFile(file, JSON.stringify(note), 0o600)
  return note
}

export const forgetNote = (file: string): void => rmSync(file, { force: true })

export const goOn = ({ shard, to }: Begun): string => `npm run banyan -- restore ${shard} --to ${to}`
export const giveUp = (shard: string): string => `npm run banyan -- restore ${shard} --abandon`

/** For who ends it early: in what state it leaves the shard, and both ways from there. */
export function standing(note: Note): string {
  const { shard, to } = note
  const states: Record<Note['stage'], string> = {
    'taken-out': `${shard} was taken out of service (its users get 503), or was about to be. Nothing in it was taken back.`,
    travelling: `${shard} is out of service (its users get 503), and may be as it was at ${to} already.`,
    reconciled: `${shard} is as it was at ${to}; it is in service again, or was about to be.`,
  }
  return `${states[note.stage]}\nTo go on: ${goOn(note)}\nTo give it up: ${giveUp(shard)}`
}
