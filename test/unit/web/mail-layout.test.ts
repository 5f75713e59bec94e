import { describe, expect, test } from 'vitest'
import { type MailContent, mailParts, quoted } from '../../../src/web/mail-layout.ts'

const URL = 'https://banyan.example/reset-password/0123.abc?a=1&b=2'

const content = (more: Partial<MailContent> = {}): MailContent => ({
  subject: 'Set a new password',
  before: ['First paragraph.', 'Second one.'],
  button: { label: 'Set a password', url: URL },
  after: ['It ends soon.'],
  ...more,
})

const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' }

/** The text of the body, as a reader sees it. */
const seen = (html: string): string =>
  html
    .replace(/^.*<body[^>]*>/s, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/&(lt|gt|quot|#39|amp);/g, (_, name: string) => entities[name] ?? '')

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '')

/** The elements by name, in order. A text that was not escaped would add one. */
const elements = (html: string): string[] => [...html.matchAll(/<(\w+)/g)].map(([, name = '']) => name)

/** Lone surrogates cannot be sent; everything else may be in a name. */
const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</td></table></body>',
  '&lt;b&gt; &amp;amp;',
  '<!-- ',
  'javascript:alert(1)',
]

describe('a mail', () => {
  test('says the same in text and in HTML, which adds only how to use the address without the button', () => {
    const unsubscribe = { text: 'To get no more:', url: 'https://banyan.example/unsubscribe/x' }
    const { text, html } = mailParts(content({ unsubscribe }))
    const inHtml = words(seen(html)).join(' ')
    const added = ' If the button does not work, open this address:'
    expect(inHtml.split(added)).toHaveLength(2)
    expect(inHtml.replace(added, ':')).toBe(words(text).join(' '))
    expect(text).toContain(`\nhttps://banyan.example/unsubscribe/x\n`)
    expect(text).toContain(`Set a password:\n${URL}\n\nIt ends soon.\n`)
  })

  test('has one button, a language, one column that fits a phone, and nothing that is loaded or runs', () => {
    const { html } = mailParts(content())
    expect(html).toMatch(/^<!doctype html>\n<html lang="en"/)
    expect(elements(html)).not.toEqual(expect.arrayContaining(['script']))
    for (const name of ['script', 'img', 'link', 'iframe', 'form', 'object']) expect(elements(html)).not.toContain(name)
    expect(html).not.toMatch(/url\(|@import|src=|background=/)
    expect([...html.matchAll(/href="([^"]*)"/g)].map(([, url]) => url)).toEqual(
      Array(2).fill(URL.replace('&', '&amp;')),
    )
    expect([...html.matchAll(/<td/g)]).toHaveLength(2)
    expect(html).not.toMatch(/width:(?!100%|560px)\d/)
    // Both colours of each text are given, so that a program that inverts one of them inverts both.
    for (const [, style = ''] of html.matchAll(/<(?:body|td class|a)[^>]*style="([^"]*background-color[^"]*)"/g))
      expect(style).toMatch(/(^|;)color:/)
    expect(html).toContain('prefers-color-scheme:dark')
  })

  test.each(hostile)('shows %s in a paragraph, a label and a subject as text', (name) => {
    const plain = mailParts(content())
    const { html, text } = mailParts(
      content({ subject: name, before: [name, 'Second one.'], button: { label: name, url: URL }, after: [name] }),
    )
    expect(elements(html)).toEqual(elements(plain.html))
    expect(seen(html).split(name)).toHaveLength(4)
    expect(text.split(name)).toHaveLength(4)
    expect(html).not.toMatch(/<[^>]* on\w+=/)
  })

  test('lets a word without spaces wrap', () => {
    const { html } = mailParts(content({ before: ['w'.repeat(2_000)] }))
    expect(html).toContain('overflow-wrap:anywhere')
    expect(seen(html)).toContain('w'.repeat(2_000))
  })

  test('has a subject of one line, whatever a name in it contains', () => {
    const { subject } = mailParts(content({ subject: 'A mail of Ada\r\nBcc: all@example.com\u2028' }))
    expect(subject).toBe('A mail of Ada Bcc: all@example.com')
  })

  test.each(['javascript:alert(1)', 'data:text/html,x', '/settings', 'https://a.example/ b', 'https://a.example/\n'])(
    'refuses %j as a link',
    (url) => {
      expect(() => mailParts(content({ button: { label: 'Go', url } }))).toThrow('must be an address of the web')
      expect(() => mailParts(content({ unsubscribe: { text: 'Stop', url } }))).toThrow('must be an address of the web')
    },
  )
})

describe('a quoted name', () => {
  test('that is written from right to left does not turn the sentence around it', () => {
    expect(quoted('שלום')).toBe('\u2068שלום\u2069')
    expect(mailParts(content({ after: [`From ${quoted('مرحبا')} with care.`] })).text).toContain(
      'From \u2068مرحبا\u2069 with care.',
    )
  })

  test.each([
    ['\u202egnp.exe', 'gnp.exe'],
    ['\u2069 ends early', 'ends early'],
    ['two\r\n\r\nparagraphs', 'two paragraphs'],
    ['a\u2028b\u0000c\u200fd', 'a b c d'],
  ])('%j has no character that turns text or ends the line', (name, left) => {
    expect(quoted(name)).toBe(`\u2068${left}\u2069`)
  })
})
