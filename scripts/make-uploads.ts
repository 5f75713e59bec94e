/** `node scripts/make-uploads.ts`: writes the small files of `test/fixtures/uploads` again. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { smallUploads } from './uploads/corpus.ts'

const folder = path.resolve(import.meta.dirname, '../test/fixtures/uploads')
const uploads = await smallUploads()
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
for (const [name, bytes] of Object.entries(uploads)) writeFileSync(path.join(folder, name), bytes)
const total = Object.values(uploads).reduce((sum, { length }) => sum + length, 0)
console.log(`${Object.keys(uploads).length} files, ${total.toLocaleString('en')} bytes`)
