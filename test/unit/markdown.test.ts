import { expect, test } from 'vitest'
import { anchorsOf, fencedBlocks, localLinks, longLines } from '../support/markdown.ts'

test('anchors are those that GitHub gives to headings', () => {
  const page =
    '# What’s new?\n\n## `moves` & more\n\n## [A page](a.md)\n\n## Again\n\n## Again\n\n```sh\n# a comment\n```\n'
  expect([...anchorsOf(page)]).toEqual(['whats-new', 'moves--more', 'a-page', 'again', 'again-1'])
})

test('a fenced block has its info string and its text; links in it do not count', () => {
  const page = 'See [one](one.md#top) and [here](#below).\n\n  ```sh not-run\n  ls [x](y.md)\n  ```\n'
  expect(fencedBlocks(page)).toEqual([{ info: 'sh not-run', text: '  ls [x](y.md)\n' }])
  expect(localLinks(page)).toEqual([
    { file: 'one.md', anchor: 'top' },
    { file: '', anchor: 'below' },
  ])
})

test('the addresses of links, tables and fenced blocks do not make a line long', () => {
  const long = 'x'.repeat(121)
  const page = `${long}\n[a](${long})\n| ${long} |\n\`\`\`text\n${long}\n\`\`\`\n`
  expect(longLines(page, 120)).toEqual([long])
})
