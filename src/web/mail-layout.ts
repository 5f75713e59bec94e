import { html, raw } from 'hono/html'
import type { Mail } from '../jobs/mail.ts'

/** The contents of a mail, from which its text and its HTML are written. Texts are plain. */
export interface MailContent {
  subject: string
  /** Paragraphs above the button. */
  before: string[]
  /** The only button. Its address is an `http:` or `https:` URL. */
  button: { label: string; url: string }
  /** Paragraphs below it: when the link ends, and what to do if the reader did not ask for it. */
  after: string[]
  /** Where the reader switches off mails of this kind. */
  unsubscribe?: { text: string; url: string }
}

const COPY = 'If the button does not work, open this address:'

/** Characters that end a line, or turn the direction of the text after them. */
const UNSAFE = /[\p{Cc}\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]+/gu

/**
 * A user's text for a sentence of a mail, such as a display name. It stays on its line, and its direction does not
 * change that of the sentence (Unicode isolates, UAX 9). @public For nouns.
 */
export const quoted = (text: string): string => `\u2068${text.replaceAll(UNSAFE, ' ').trim()}\u2069`

/** A mail's subject, text and HTML. Both say the same. */
export function mailParts(content: MailContent): Pick<Mail, 'subject' | 'text' | 'html'> {
  const { before, button, after, unsubscribe } = content
  for (const { url } of [button, ...(unsubscribe ? [unsubscribe] : [])])
    if (!/^https?:\/\/[^\s]+$/.test(url)) throw new Error(`A mail's link must be an address of the web: ${url}`)
  const paragraphs = [
    ...before,
    `${button.label}:\n${button.url}`,
    ...after,
    ...(unsubscribe ? [`${unsubscribe.text}\n${unsubscribe.url}`] : []),
  ]
  const subject = content.subject.replaceAll(UNSAFE, ' ').trim() // a header is one line
  return {
    subject,
    text: `${paragraphs.join('\n\n')}\n`,
    html: mailDocument({ ...content, subject }),
  }
}

// Mail programs ignore style sheets, scripts and unknown elements in various combinations. So every element has its own
// style and both of its colours, the width comes from a table, and nothing is loaded from elsewhere.
const font = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
const styles = {
  body: 'margin:0;padding:0;background-color:#f5efe1;color:#1d2a23',
  page: 'background-color:#f5efe1',
  cell: 'padding:24px 12px',
  card: 'width:100%;max-width:560px;background-color:#ffffff;border-radius:8px',
  inside: `padding:28px 24px;${font};font-size:16px;line-height:1.5;color:#1d2a23;background-color:#ffffff;border-radius:8px;overflow-wrap:anywhere;word-break:break-word`,
  paragraph: 'margin:0 0 16px',
  button:
    'display:inline-block;padding:12px 20px;background-color:#1f6b45;color:#ffffff;font-weight:600;text-decoration:none;border-radius:6px',
  fine: 'margin:0 0 16px;font-size:14px;color:#4a574f',
  link: 'color:#1f6b45',
}

// Programs that know this rule show dark colours, which must win over those of the elements. Others show the light ones,
// or invert them.
const darkColours = [
  '@media (prefers-color-scheme:dark){',
  '.page{background-color:#0f1a15!important}',
  '.inside{background-color:#18261f!important;color:#e8ede9!important}',
  '.fine{color:#b4c0b9!important}',
  '.link{color:#8fd3ae!important}}',
].join('')

/** In one line per element, without spaces that a mail program could show. */
function mailDocument({ subject, before, button, after, unsubscribe }: MailContent): string {
  const paragraphs = (texts: string[]) => texts.map((text) => html`<p style="${styles.paragraph}">${text}</p>\n`)
  const address = (text: string, url: string) =>
    html`<p class="fine" style="${styles.fine}">${text} <a href="${url}" class="link" style="${styles.link}">${url}</a></p>\n`
  const table = raw('<table role="presentation" width="100%" cellpadding="0" cellspacing="0"')
  const document = html`<!doctype html>
<html lang="en" dir="ltr">
<head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${subject}</title>
<style>${raw(darkColours)}</style>
</head>
<body class="page" style="${styles.body}">
${table} class="page" style="${styles.page}"><tr><td align="center" style="${styles.cell}">
${table} style="${styles.card}"><tr><td align="left" class="inside" style="${styles.inside}">
${paragraphs(before)}<p style="${styles.paragraph}"><a href="${button.url}" style="${styles.button}">${button.label}</a></p>
${address(COPY, button.url)}${paragraphs(after)}${unsubscribe ? address(unsubscribe.text, unsubscribe.url) : ''}</td></tr></table>
</td></tr></table>
</body>
</html>
`
  return String(document)
}
