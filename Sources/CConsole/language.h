// An entry of languages.c, if there is its file. It is included once for each language, so it has no guard.
#if __has_embed(FILE)
{FILE, (const char[]){
#embed FILE
    , 0}},
#endif
#undef FILE
