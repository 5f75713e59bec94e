import { existsSync, readFileSync, rmSync } from 'node:fs'
import { replaceFile } from '../shell/replace-file.ts'

/** What makes one import: with another of these it is another one, and begins anew. */
export interface ImportIdentity {
  /** SHA-256 of the file. */
  fingerprint: string
  url: string
  source: string
  table: string
  /** As text. */
  mapping: string
  /** How the file is read, as text. A version before had none: it read some files otherwise. */
  reading: string
}

/** How far an import has come. */
export interface Place {
  /** When it began: the file is checked by that time whenever it goes on, so that the same users are refused. */
  now: number
  /** All users up to this one were answered for. */
  acknowledged: number
  imported: number
  there: number
  refused: number
  /** How many records each remark is of, by its name. */
  remarked: Record<string, number>
  /** How long the file of refused users is; what is behind that was not yet answered for. */
  refusedBytes: number
}

/** The place, in a file beside the input. To lose it costs time only: what is sent again changes nothing. */
export class PlaceFile {
  readonly file: string
  readonly #identity: ImportIdentity

  constructor(input: string, identity: ImportIdentity) {
    this.file = `${input}.import-state.json`
    this.#identity = identity
  }

  /** Where to go on; null to begin. `isOther`: there is the place of another import. */
  read(): { place: Place | null; isOther: boolean } {
    if (!existsSync(this.file)) return { place: null, isOther: false }
    const kept = parsed(readFileSync(this.file, 'utf8'))
    // A version before kept no time: by which one it had checked nobody knows.
    const isSame =
      JSON.stringify(kept?.identity) === JSON.stringify(this.#identity) && typeof kept?.place?.now === 'number'
    return { place: isSame && kept ? placeOf(kept.place) : null, isOther: !isSame }
  }

  /** At once or not at all: a kill leaves the place before. */
  write(place: Place): void {
    const { remarked, ...rest } = place
    const kept = { identity: this.#identity, place: { ...rest, ...remarked } }
    replaceFile(this.file, `${JSON.stringify(kept, null, 2)}\n`)
  }

  remove(): void {
    rmSync(this.file, { force: true })
  }
}

/** In the file, the remarks are beside the other counts. */
type Counts = Omit<Place, 'remarked'>

const placeOf = ({ now, acknowledged, imported, there, refused, refusedBytes, ...remarked }: Counts): Place => ({
  ...{ now, acknowledged, imported, there, refused, refusedBytes },
  remarked,
})

function parsed(text: string): { identity: ImportIdentity; place: Counts } | null {
  try {
    return JSON.parse(text) as { identity: ImportIdentity; place: Counts }
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
