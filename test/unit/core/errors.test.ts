import { expect, test } from 'vitest'
import { BanyanError, catalogue, type ErrorCode } from '../../../src/core/errors.ts'
import { unplain } from '../../support/plain-english.ts'

const entries = Object.entries(catalogue) as [ErrorCode, readonly [number, string, string, string?]][]

/** Whole sentences: a capital or code first, a full stop last. */
const sentence = /^[A-Z`].*[^.]\.$/

test.each(entries)(
  '%s has a title without a full stop, and a fix in whole sentences',
  (_, [status, title, ...fixes]) => {
    expect(title).toMatch(/^[A-Z].*[^.]$/)
    expect(fixes).toHaveLength(status >= 500 ? 2 : 1)
    for (const fix of fixes) {
      expect(fix).toMatch(sentence)
      expect(fix?.split(' ').length).toBeGreaterThan(2)
    }
    expect(unplain.filter(([phrase]) => [title, ...fixes].join(' ').search(phrase) >= 0)).toEqual([])
  },
)

test.each(entries)(
  '%s without a detail of its own says its title and its fix',
  (code, [status, title, fix, callerFix]) => {
    const error = new BanyanError(code)
    expect(error.status).toBe(status)
    expect(error.message).toBe(`${title}. ${fix}`)
    expect(error.publicAdvice).toBe(`${title}. ${callerFix ?? fix}`)
  },
)

test.each(entries.filter(([, [status]]) => status >= 500))('%s tells callers no command and no setting', (_, entry) => {
  expect(entry[3]).not.toMatch(/npm|npx|curl|wrangler|banyan|shard|D1|[A-Z]+_[A-Z]+/)
})
