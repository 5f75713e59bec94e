import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Importer, ImportOutcome } from '../../../../src/cli/import/noun.ts'
import { importFile } from '../../../../src/cli/import/run.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'

type Book = { externalId: string; title: string; blurb?: string | undefined }

const rules = {
  readRow: ({ externalId, title, blurb }: Readonly<Record<string, string | null>>) =>
    title
      ? { externalId: externalId ?? '', title, ...(blurb ? { blurb } : {}) }
      : { code: 'UNTITLED', detail: 'None.' },
  uniqueIn: ({ title }: Book) => [{ code: 'TITLE_TWICE', called: 'title', value: title.toLowerCase() }],
}

/** An importer that has nothing in common with the sample’s users. */
const books: Importer<Book, ImportOutcome & { shelf: number }> = {
  fields: {
    externalId: { columns: ['isbn'], isRequired: true, code: 'ISBN_INVALID' },
    title: { columns: ['title', 'name'], isRequired: true, code: 'TITLE_INVALID' },
    blurb: { columns: ['blurb'] },
  },
  reported: ['externalId', 'title'],
  source: { pattern: /^[a-z]+$/, rule: 'letters' },
  remarks: [
    {
      name: 'withoutBlurb',
      isOfRecord: ({ blurb }) => blurb === undefined,
      isOfOutcome: ({ shelf }) => shelf === 0,
      texts: {
        imported: (count) => `${count} are on no shelf.`,
        dryRun: (count) => `${count} would be on no shelf.`,
      },
    },
  ],
  verified: 'each title',
  examples: { mapping: 'title=name', columns: ['isbn', 'name'] },
  loadRules: async () => rules,
  send: (post, source, records) => post('/books', { source, records }),
  verify: (post, _source, records) => post('/books/checks', { records }),
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-import-nouns-'))
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

/** A server that refuses the third book, and has no shelf for the first. */
function server() {
  const sent: Book[] = []
  const post = async (url: string, body?: object) => {
    const { records } = body as { records: Book[] }
    if (url === '/books/checks')
      return records.map(({ externalId }) => ({
        externalId,
        isHere: true,
        differences: externalId === '2' ? ['title'] : [],
      }))
    sent.push(...records)
    return records.map(({ externalId }) =>
      externalId === '3'
        ? { externalId, outcome: 'refused', code: 'BURNT', detail: 'It is gone.', shelf: 1 }
        : { externalId, outcome: 'imported', shelf: externalId === '1' ? 0 : 1 },
    )
  }
  return { connection: { url: 'http://localhost', post } as unknown as Connection, sent }
}

const rows = [
  'isbn,name,blurb',
  '1,Emma,\0',
  '2,Ulysses,Long.',
  '3,Sappho’s poems,Lost.',
  '4,EMMA,Again.',
  '5,,None.',
  '6\0,Zadig,Odd.',
]

function fileOf(text: string): string {
  const file = path.join(folder, 'books.csv')
  writeFileSync(file, text)
  return file
}

test('an import of another noun reads, checks, counts, sends and verifies by that noun’s rules', async () => {
  const { connection, sent } = server()
  const file = fileOf(rows.join('\n'))
  const { json, text, isFailure } = await importFile(books, () => connection, file, {})
  expect(sent).toEqual([
    { externalId: '1', title: 'Emma' },
    { externalId: '2', title: 'Ulysses', blurb: 'Long.' },
    { externalId: '3', title: 'Sappho’s poems', blurb: 'Lost.' },
  ])
  expect(readFileSync(`${file}.refused.csv`, 'utf8').split('\r\n')).toEqual([
    'externalId,title,code,reason',
    '4,EMMA,TITLE_TWICE,Another user of the file has this title.',
    '5,,UNTITLED,None.',
    '6\ufffd,Zadig,ISBN_INVALID,externalId: It contains a NUL character.',
    '3,Sappho’s poems,BURNT,It is gone.',
    '',
  ])
  expect(json).toMatchObject({ read: 6, imported: 2, there: 0, refused: 4, withoutBlurb: 1, asked: 2, differing: 1 })
  expect(text).toContain('  1 are on no shelf.')
  expect(text).toContain('Verified 1 of 2: each title.')
  expect(isFailure).toBe(true)
})

test('a dry run sends nothing, and counts the noun’s remarks', async () => {
  const notAsked = () => expect.fail('a dry run connects to nothing')
  const { json, text } = await importFile(books, notAsked, fileOf(rows.join('\n')), { 'dry-run': true })
  expect(json).toEqual({ read: 6, importable: 3, refused: 3, withoutBlurb: 1 })
  expect(text).toContain('  1 would be on no shelf.')
})

test('the fix for a foreign file names the noun’s columns', async () => {
  const file = fileOf('')
  writeFileSync(file, '[{"isbn": "1"}]')
  const error = await importFile(books, () => server().connection, file, {}).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    fix: expect.stringContaining(`jq -r '["isbn","name"], (.[] | [.isbn, .name]) | @csv'`),
  })
})

test('the name of a source must match the noun’s rule', async () => {
  const imported = importFile(books, () => server().connection, fileOf(rows.join('\n')), { source: 'shop 1' })
  await expect(imported).rejects.toMatchObject({ fix: expect.stringMatching(/ with --source: letters\.$/) })
})
