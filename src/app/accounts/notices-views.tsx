import { Spread } from '../../web/layout.tsx'

/** In the settings. */
export const NoticesSection = ({ isOn }: { isOn: boolean }) => (
  <section class="settings" aria-labelledby="notices">
    <div>
      <h2 id="notices">Mails</h2>
      <p class="aside">We always tell you about a new password or a new address.</p>
    </div>
    <form class="form" method="post" action="/settings/notices">
      <div class="field">
        <label>
          <input type="checkbox" name="newLogIn" checked={isOn} /> Send me a mail when a new device logs in
        </label>
      </div>
      <button class="button" type="submit">
        Save mails
      </button>
    </form>
  </section>
)

/** Needs a click, because mail programs prefetch links. A mail service sends the form without this page (RFC 8058). */
export const UnsubscribePage = ({ token }: { token: string }) => (
  <Spread margin={<h1>Mails about new log-ins</h1>}>
    <form class="form" method="post" action={`/unsubscribe/${token}`}>
      <p class="lead">Click the button, and we send you no more mails when a new device logs in to your account.</p>
      <button class="button" type="submit">
        Stop these mails
      </button>
      <p class="fine">You can switch them on again in your settings.</p>
    </form>
  </Spread>
)

export const UnsubscribedPage = () => (
  <Spread margin={<h1>Mails about new log-ins</h1>}>
    <p class="lead">We send you no more mails when a new device logs in to your account.</p>
    <p>
      You can switch them on again in your <a href="/settings">settings</a>.
    </p>
  </Spread>
)
