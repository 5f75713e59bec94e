import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'
import { adoptingFences } from '../support/adopting-page.ts'

const shown = adoptingFences().filter(({ title }) => title?.startsWith('examples/'))

test('docs/adopting.md shows each part of the example', () => {
  const files = new Set(shown.map(({ title }) => title))
  expect([...files].map((file) => path.basename(file!)).sort()).toEqual(['main.ts', 'schema.ts', 'wrangler.toml'])
})

test.each(shown)('docs/adopting.md shows $title as it is', ({ title, code }) => {
  expect(readFileSync(path.join(root, title!), 'utf8')).toContain(code)
})
