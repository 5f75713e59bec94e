import { expect, test } from 'vitest'
import type { BrowserGiven } from '../support/browser-given.ts'
import { browserStand } from '../support/browser-stand.ts'

// Variations of the nouns' browser tests. One path per feature is in test/e2e/browser.test.ts.

const { people, ...given } = browserStand()
const files = import.meta.glob<{ browserTests: (given: BrowserGiven) => void }>('../e2e/*/browser-*.ts', {
  eager: true,
})
for (const { browserTests } of Object.values(files)) browserTests(given)

test('no console has a message', () => {
  expect(people.flatMap(({ complaints }) => complaints)).toEqual([])
})
