import type { OpenAPIHono } from '@hono/zod-openapi'
import { rfc3339 } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import type { Mail } from '../jobs/mail.ts'
import type { WebEnv } from './context.ts'
import { Spread, Timestamp } from './layout.tsx'
import type { SentMail } from './mail-previews.ts'
import { contentSecurityPolicy } from './middleware/security-headers.ts'
import { page } from './page.tsx'

/** No script, no picture, and no frame but this page's. A link of the mail replaces the page, not the frame. */
const MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'"
const SANDBOX = 'allow-top-navigation-by-user-activation'

/** The pages of the mails that were sent. Without the setting, they do not exist. */
export function mailPreviewPages(app: OpenAPIHono<WebEnv>): void {
  const off = () => new BanyanError('NOT_FOUND', 'There is nothing at this path. Check the address.')
  app.get('/dev/mails', async (c) => {
    const { mailPreviews } = c.get('tiers')
    if (!mailPreviews) throw off()
    c.header('content-security-policy', `${contentSecurityPolicy}; frame-src 'self'`)
    return page(c, { title: 'Mails', viewer: null }, <MailsPage mails={await mailPreviews.newest()} />)
  })
  app.get('/dev/mails/:id', async (c) => {
    const mail = await c.get('tiers').mailPreviews?.find(c.req.param('id'))
    if (!mail) throw off()
    c.header('content-security-policy', `${MAIL_POLICY}; sandbox ${SANDBOX}`)
    return c.html(mail.html.replace('<head>', '<head><base target="_top">'))
  })
}

/** The address of the mail's button is the first in its text. */
const linkIn = ({ text }: Mail): string | null => /https?:\/\/\S+/.exec(text)?.[0] ?? null

const MailsPage = ({ mails }: { mails: [id: string, SentMail][] }) => (
  <Spread
    margin={
      <>
        <h1>Mails</h1>
        <p class="aside">
          What would have been sent from here in the last day, newest first. Reload the page to see new ones. Only on
          localhost.
        </p>
      </>
    }
  >
    {mails.length === 0 ? <p class="empty">No mail yet. Sign up, and there is one after a second.</p> : null}
    {mails.map(([id, mail], index) => (
      <MailItem id={id} mail={mail} isNewest={index === 0} />
    ))}
  </Spread>
)

const MailItem = ({ id, mail, isNewest }: { id: string; mail: SentMail; isNewest: boolean }) => {
  const link = linkIn(mail)
  return (
    <details class="mail" open={isNewest}>
      <summary>
        <bdi>{mail.subject}</bdi>
        <span class="fine">
          to <bdi>{mail.to}</bdi>, <Timestamp time={rfc3339(mail.at)} />
        </span>
      </summary>
      {link ? (
        <p>
          <a class="mail-link" href={link} id={isNewest ? 'newest-link' : undefined}>
            {link}
          </a>
        </p>
      ) : null}
      <iframe
        class="mail-frame"
        title={mail.subject}
        src={`/dev/mails/${id}`}
        sandbox={SANDBOX}
        loading="lazy"
      ></iframe>
      <pre class="mail-text">{mail.text}</pre>
      <p class="fine mail-headers">
        X-Banyan-Message-Id: {mail.messageId}
        {Object.entries(mail.headers ?? {}).map(([name, value]) => (
          <>
            <br />
            {name}: {value}
          </>
        ))}
      </p>
    </details>
  )
}
