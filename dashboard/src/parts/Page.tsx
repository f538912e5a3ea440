import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";

/** The frame of a screen: where one is, what it is about, what can be done here. */
export function Page({
  title,
  heading,
  lead,
  actions,
  children,
}: {
  title: string;
  heading?: ReactNode;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  useDocumentTitle(`${title} · Waxwing`);
  return (
    <div className="page">
      <header className="page-head">
        <div>
          <h1>{heading ?? title}</h1>
          {lead && <div className="lead">{lead}</div>}
        </div>
        {actions && <div className="actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** A titled part of a screen. */
export function Card({
  title,
  aside,
  children,
  id,
  flush,
}: {
  title?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  id?: string;
  flush?: boolean;
}) {
  return (
    <section className={flush ? "card card-flush" : "card"} {...(id ? { id } : {})}>
      {title && (
        <div className="card-head">
          <h2>{title}</h2>
          {aside && <div className="card-aside">{aside}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** Says that there is nothing, which is an answer, and what would bring something. */
export function Empty({ children }: { children: ReactNode }) {
  return <div className="empty">{children}</div>;
}
