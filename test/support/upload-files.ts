import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { largeUploads } from '../../scripts/uploads/corpus.ts'

const folder = path.resolve(import.meta.dirname, '../fixtures/uploads')

export const uploadFiles = (): string[] => readdirSync(folder).sort()

/** The bytes of a file of the corpus. A large one is made now. */
export async function uploadBytes(file: string): Promise<Uint8Array> {
  const bytes = await largeUploads[file]?.()
  return new Uint8Array(bytes ?? readFileSync(path.join(folder, file)))
}
