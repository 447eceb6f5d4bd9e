// GMime, with its casting and testing macros as functions.
#pragma once

#include <gmime/gmime.h>

#pragma clang assume_nonnull begin

static inline int mime_is_part(GMimeObject *object) { return GMIME_IS_PART(object); }
static inline int mime_is_text(GMimeObject *object) { return GMIME_IS_TEXT_PART(object); }
static inline int mime_is_multipart(GMimeObject *object) { return GMIME_IS_MULTIPART(object); }
static inline int mime_is_message(GMimeObject *object) { return GMIME_IS_MESSAGE_PART(object); }
static inline int mime_is_mailbox(InternetAddress *address) { return INTERNET_ADDRESS_IS_MAILBOX(address); }
static inline int mime_is_group(InternetAddress *address) { return INTERNET_ADDRESS_IS_GROUP(address); }
static inline GMimePart *mime_part(GMimeObject *object) { return (GMimePart *)object; }
static inline GMimeTextPart *mime_text(GMimeObject *object) { return (GMimeTextPart *)object; }
static inline GMimeMultipart *mime_multipart(GMimeObject *object) { return (GMimeMultipart *)object; }
static inline GMimeMessagePart *mime_message_part(GMimeObject *object) { return (GMimeMessagePart *)object; }
static inline GMimeObject *mime_object(void *object) { return (GMimeObject *)object; }
static inline InternetAddressMailbox *mime_mailbox(InternetAddress *address) { return (InternetAddressMailbox *)address; }
static inline InternetAddressGroup *mime_group(InternetAddress *address) { return (InternetAddressGroup *)address; }
static inline GMimeStreamMem *mime_memory(GMimeStream *stream) { return (GMimeStreamMem *)stream; }

#pragma clang assume_nonnull end
